from otter.test_files import test_case

OK_FORMAT = False

name = "a2_4"
points = 2

@test_case(points=None, hidden=False)
def test_visible(to_level):
    from pyramid.course.a2_to_level import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'Noise in the closed part changes no masked feature', to_level, seed=4)
