from otter.test_files import test_case

OK_FORMAT = False

name = "a3_3"
points = 2

@test_case(points=None, hidden=False)
def test_visible(generator_block):
    from pyramid.course.a3_generator_block import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'Closed is not the same as open and zero', generator_block, seed=3)
