"""The settings file is changed where it has to be, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aquila_mde.errors import ConfigurationError
from aquila_mde.onboard.settings_file import edited, write_tenant


def test_everything_else_stays_character_by_character() -> None:
    text = """\
# the tenant of Contoso
tenant:
    name: Contoso   # shown in documents
    client_id: old  # to be replaced
    client_secret_file: /etc/secret
    # the end

elasticsearch: {url: "http://localhost:9200"}   # engine
"""
    changes = {"id": "0123", "client_id": "new", "client_secret_file": None, "certificate": "/a b"}
    assert (
        edited(text, changes)
        == """\
# the tenant of Contoso
tenant:
    name: Contoso   # shown in documents
    client_id: new  # to be replaced
    id: '0123'
    certificate: /a b
    # the end

elasticsearch: {url: "http://localhost:9200"}   # engine
"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        "state: x",
        "tenant:\n",
        "tenant: {}\nstate: x\n",
        "tenant: {name: c, client_id: old}\nstate: x\n",
        "tenant:\n  client_id:\nstate: x\n",
        'tenant:\n  "client_id": "old"',
        "tenant:\n  client_id: >-\n    ol\n    d\n  name: c\nstate: x\n",
        "state: x\ntenant:\n  client_id: old\n\n\n# end\n",
    ],
)
def test_whatever_it_looks_like_it_says_what_it_should(text: str) -> None:
    after = edited(text, {"client_id": "new", "certificate": None})
    before = yaml.safe_load(text) or {}
    tenant = (before.get("tenant") or {}) | {"client_id": "new"}
    assert yaml.safe_load(after) == before | {"tenant": tenant}
    assert edited(after, {"client_id": "new", "certificate": None}) == after


keys = st.sampled_from(["id", "client_id", "certificate", "client_secret_file", "name"])
words = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12)


@given(
    st.dictionaries(keys, words, min_size=1),
    st.dictionaries(keys, st.none() | words),
    st.sampled_from([None, False, True]),
)
def test_any_keys_and_values(
    tenant: dict[str, str], changes: dict[str, str | None], flow: bool | None
) -> None:
    values = {"state": "x", "tenant": tenant, "streams": {"alert": {"enabled": False}}}
    text = yaml.safe_dump(values, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    wanted = {k: v for k, v in (tenant | changes).items() if v is not None}
    assert yaml.safe_load(edited(text, changes)) == values | {"tenant": wanted}


def test_what_cannot_be_changed_safely_is_left_and_said() -> None:
    text = "base: &base {client_id: old}\ntenant:\n  <<: *base\n  id: x\n"
    with pytest.raises(ConfigurationError, match="cannot be changed safely") as raised:
        edited(text, {"client_id": None, "certificate": "/a"}, "aquila.yml")
    assert "certificate: /a" in raised.value.hint
    assert "client_id" in raised.value.hint


def test_a_new_file_is_for_its_owner_only_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "aquila.yml"
    assert write_tenant(file, {"id": "x"})
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert write_tenant(file, {"client_id": "y"})
    assert file.stat().st_mode & 0o777 == 0o644
    node = file.stat().st_ino
    assert not write_tenant(file, {"client_id": "y"})
    assert file.stat().st_ino == node
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "real.yml", tmp_path / "aquila.yml"
    file.write_text("tenant:\n  id: a\n")
    link.symlink_to(file)
    write_tenant(link, {"id": "b"})
    assert link.is_symlink()
    assert file.read_text() == "tenant:\n  id: b\n"
