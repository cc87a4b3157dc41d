from otter.test_files import test_case

OK_FORMAT = False

name = "a7_7"
points = 2

@test_case(points=None, hidden=False)
def test_visible(kid):
    from pyramid.course.a7_frechet_and_kid import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'kid: a small example, pair by pair', kid, seed=7)
