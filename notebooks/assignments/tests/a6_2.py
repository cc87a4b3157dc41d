from otter.test_files import test_case

OK_FORMAT = False

name = "a6_2"
points = 2

@test_case(points=None, hidden=False)
def test_visible(reconstruction):
    from pyramid.course.a6_reconstruction import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'A shift inside a window is free, across windows it is not', reconstruction, seed=2)
