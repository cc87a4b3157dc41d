from otter.test_files import test_case

OK_FORMAT = False

name = "a1_2"
points = 2

@test_case(points=None, hidden=False)
def test_visible(receptive_fields):
    from pyramid.course.a1_receptive_fields import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'Any other network: as far as a gradient reaches', receptive_fields, seed=2)
