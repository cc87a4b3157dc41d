from otter.test_files import test_case

OK_FORMAT = False

name = "a6_1"
points = 2

@test_case(points=None, hidden=False)
def test_visible(reconstruction):
    from pyramid.course.a6_reconstruction import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'Closed entries do not matter', reconstruction, seed=1)
