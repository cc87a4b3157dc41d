from otter.test_files import test_case

OK_FORMAT = False

name = "a4_5"
points = 2

@test_case(points=None, hidden=False)
def test_visible(discriminator_step, generator_loss):
    from pyramid.course.a4_the_game import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'The discriminator moves along its gradient', (discriminator_step, generator_loss), seed=5)
