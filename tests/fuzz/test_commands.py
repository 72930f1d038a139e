"""Every command goes through a folder of damaged recordings; `make fuzz` takes 2,000 of them."""

from fuzz import commands


def test_damaged_files_cost_nothing_but_themselves(tmp_path, capfd):
    assert list(commands.run(tmp_path, 40)) == []
    assert capfd.readouterr().err == "", "libraries do not write past us"
