from otter.test_files import test_case

OK_FORMAT = False

name = "a7_3"
points = 2

@test_case(points=None, hidden=False)
def test_visible(frechet):
    from pyramid.course.a7_frechet_and_kid import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'frechet: turning both sets changes nothing', frechet, seed=3)
