from otter.test_files import test_case

OK_FORMAT = False

name = "a4_4"
points = 2

@test_case(points=None, hidden=False)
def test_visible(discriminator_step, generator_loss):
    from pyramid.course.a4_the_game import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'No gradient is left in the generator', (discriminator_step, generator_loss), seed=4)
