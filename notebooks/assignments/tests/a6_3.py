from otter.test_files import test_case

OK_FORMAT = False

name = "a6_3"
points = 2

@test_case(points=None, hidden=False)
def test_visible(reconstruction):
    from pyramid.course.a6_reconstruction import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'An equal error is an equal loss, however large the map', reconstruction, seed=3)
