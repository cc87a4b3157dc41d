from otter.test_files import test_case

OK_FORMAT = False

name = "a5_4"
points = 2

@test_case(points=None, hidden=False)
def test_visible(spectral_normalise):
    from pyramid.course.a5_spectral_norm import ASSIGNMENT
    from pyramid.course.engine import check
    check(ASSIGNMENT, 'The gradient takes u and v for constants', spectral_normalise, seed=4)
