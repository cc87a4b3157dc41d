from otter.test_files import test_case

OK_FORMAT = False

name = "a6_4"
points = 2

@test_case(points=None, hidden=False)
def test_visible(reconstruction):
    from pyramid.course.a6_reconstruction import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'The units of an fc level are compared one by one', reconstruction, seed=4)
