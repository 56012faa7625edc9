"""The comparison behind `make reproduce`: what counts as different, and what does not."""
import base64
import copy
import io

import numpy as np
import pytest
from matplotlib.image import imsave

from tools import notebooks


def png(shade, size=20, speck=None, mark=None):
    image = np.full((size, size, 3), float(shade))
    if speck is not None:
        image[0, 0] = speck
    if mark is not None:
        image[mark:mark + 5, mark:mark + 5] = 0
    buffer = io.BytesIO()
    imsave(buffer, image)
    return base64.b64encode(buffer.getvalue()).decode()


def cell(*outputs, source="x"):
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def text(*lines):
    return {"output_type": "stream", "name": "stdout", "text": [line + "\n" for line in lines]}


def result(data):
    return {"output_type": "execute_result", "data": data}


def differs(old, new, source="x"):
    return bool(notebooks.cell_difference(cell(*old, source=source), cell(*new, source=source)))


def test_text_must_be_equal_to_the_printed_digit():
    assert not differs([text("l = -1130.26396")], [text("l = -1130.26396")])
    assert differs([text("l = -1130.26396")], [text("l = -1130.26397")])
    assert differs([text("a")], [text("a"), text("b")])
    assert differs([text("a")], [result({"text/plain": "a"})])
    assert differs([result({"text/plain": "1"})], [result({"text/plain": "1", "text/html": "1"})])


def test_a_timing_cell_may_change_its_numbers_but_not_its_words():
    fast, slow = [text("16 labels: 0.41 s,  65,536 terms")], [text("16 labels: 1.2e+01 s, 65,536 terms")]
    assert differs(fast, slow)
    assert not differs(fast, slow, source="#| timing\nx")
    assert not differs(fast, slow, source="#| echo: false\n#| timing\nx")
    assert differs(fast, [text("16 labels took 12.7 s")], source="#| timing\nx")
    assert differs(fast, [text("16 labels: 0.41 s,  65,537 terms")], source="#| timing\nx")
    assert differs(fast, slow, source="x\n#| timing")


def test_figures_may_differ_by_less_than_the_stated_tolerance():
    figure = [result({"image/png": png(0.5)})]
    assert not differs(figure, [result({"image/png": png(0.5)})])
    assert not differs(figure, [result({"image/png": png(0.5, speck=0.52)})])
    assert differs(figure, [result({"image/png": png(0.55)})])
    assert differs(figure, [result({"image/png": png(0.5, size=21)})])
    assert differs(figure, [result({"image/png": png(0.5, size=21)})], source="#| timing\nx")


def test_a_small_mark_that_moved_is_a_difference():
    figure = [result({"image/png": png(1, size=400, mark=100)})]
    assert differs(figure, [result({"image/png": png(1, size=400, mark=120)})])
    assert differs(figure, [result({"image/png": png(1, size=400)})])


def test_image_files_are_compared_and_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "NBS", tmp_path)
    picture = tmp_path / "images" / "a.png"
    picture.parent.mkdir()
    picture.write_bytes(base64.b64decode(png(1, mark=2)))
    stored = notebooks.images()
    notebooks.check_images(stored)
    picture.write_bytes(base64.b64decode(png(1, mark=9)))
    with pytest.raises(SystemExit, match="a.png: figures differ"):
        notebooks.check_images(stored)
    assert notebooks.images() == stored


def test_figures_inside_html_are_compared_as_figures():
    def page(shade, title="play"):
        return [result({"text/html": f'<b>{title}</b><img src="data:image/png;base64,{png(shade)}">'})]
    assert not differs(page(0.5), page(0.5))
    assert differs(page(0.5), page(0.6))
    assert differs(page(0.5), page(0.5, title="stop"))


def test_the_difference_names_cell_and_both_sides():
    stored = {"cells": [{"cell_type": "markdown", "source": "# T"}, cell(text("7 heads"))]}
    fresh = copy.deepcopy(stored)
    fresh["cells"][1]["outputs"] = [text("8 heads")]
    [(number, why)] = notebooks.differences(stored, fresh)
    assert number == 1 and "-7 heads" in why and "+8 heads" in why


def test_names_select_notebooks_and_a_wrong_one_is_said():
    assert [path.stem for path in notebooks.notebooks(["12"])] == ["12_em"]
    with pytest.raises(SystemExit, match="No notebook in nbs/ begins with 77"):
        notebooks.notebooks(["77"])


def test_a_notebook_that_raises_fails_with_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "BUILD", tmp_path / "run")
    path = tmp_path / "bad.ipynb"
    notebooks.write({"cells": [{"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [],
                                "source": ["assert 1 == 2, 'one is not two'"]}],
                     "metadata": {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}},
                     "nbformat": 4, "nbformat_minor": 5}, path)
    _, seconds, error = notebooks.run_fresh(path)
    assert seconds > 0 and "one is not two" in error and "bad.ipynb, cell 0" in error
