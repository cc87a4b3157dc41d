from otter.test_files import test_case

OK_FORMAT = False

name = "a7_6"
points = 2

@test_case(points=None, hidden=False)
def test_visible(kid):
    from pyramid.course.a7_frechet_and_kid import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'kid: two sets of one world are 0 apart on average', kid, seed=6)
