from otter.test_files import test_case

OK_FORMAT = False

name = "a4_1"
points = 2

@test_case(points=None, hidden=False)
def test_visible(discriminator_step, generator_loss):
    from pyramid.course.a4_the_game import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'At chance the loss is 2', (discriminator_step, generator_loss), seed=1)
