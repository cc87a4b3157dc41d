from otter.test_files import test_case

OK_FORMAT = False

name = "a3_4"
points = 2

@test_case(points=None, hidden=False)
def test_visible(generator_block):
    from pyramid.course.a3_generator_block import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'Random modules, as the formula has it', generator_block, seed=4)
