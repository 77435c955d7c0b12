"""The doctor says what this machine has."""

from inpaintkit.notebook.doctor import report


def test_it_names_what_decides_whether_and_how_fast_the_kit_works() -> None:
    text = report()
    for word in ("torch", "GFLOP/s", "amp=auto means", "GB free", "vgg", "FastDepth", "Any_B", "ZoeD_Any_N"):
        assert word in text
