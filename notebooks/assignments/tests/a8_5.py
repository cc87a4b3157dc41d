from otter.test_files import test_case

OK_FORMAT = False

name = "a8_5"
points = 2

@test_case(points=None, hidden=False)
def test_visible(diversity):
    from pyramid.course.a8_diversity import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'One value a pair', diversity, seed=5)
