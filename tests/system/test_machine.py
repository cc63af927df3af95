"""Cores and memory are the machine's or the container's, whichever are fewer."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from dlrun.system import machine
from dlrun.system.control_groups import Limits, limits

VERSION_2 = {
    "proc/self/cgroup": "0::/jobs/mine\n",
    "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
}
VERSION_1 = {
    "proc/self/cgroup": "4:memory:/jobs/mine\n2:cpu,cpuacct:/jobs/mine\n1:name=systemd:/\n0::/elsewhere\n",
    "proc/self/mountinfo": """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
""",
}
GIB = 2**30


def tree(root: Path, *parts: dict[str, str]) -> Path:
    """Files of /proc and /sys, made below a folder of the test's own."""
    for name, text in (item for part in parts for item in part.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def of_version_2(cpu: str, memory: str, group: str = "jobs/mine") -> dict[str, str]:
    folder = f"sys/fs/cgroup/{group}"
    return {f"{folder}/cpu.max": cpu, f"{folder}/memory.max": memory}


def of_version_1(quota: str, period: str, memory: str, group: str = "jobs/mine") -> dict[str, str]:
    cpu = f"sys/fs/cgroup/cpu,cpuacct/{group}"
    return {
        f"{cpu}/cpu.cfs_quota_us": quota,
        f"{cpu}/cpu.cfs_period_us": period,
        f"sys/fs/cgroup/memory/{group}/memory.limit_in_bytes": memory,
    }


def test_version_2_limits_cores_and_memory(tmp_path: Path) -> None:
    root = tree(tmp_path, VERSION_2, of_version_2("150000 100000\n", f"{GIB}\n"))
    assert limits(root) == Limits(1.5, GIB, "/sys/fs/cgroup/jobs/mine/memory.max")


def test_version_1_limits_cores_and_memory(tmp_path: Path) -> None:
    root = tree(tmp_path, VERSION_1, of_version_1("300000\n", "100000\n", f"{GIB}\n"))
    assert limits(root) == Limits(3, GIB, "/sys/fs/cgroup/memory/jobs/mine/memory.limit_in_bytes")


def test_of_nested_groups_the_smallest_limit_holds(tmp_path: Path) -> None:
    above = of_version_2("400000 100000\n", f"{GIB // 2}\n", "jobs")
    root = tree(tmp_path / "2", VERSION_2, of_version_2("200000 100000\n", f"{GIB}\n"), above)
    assert limits(root) == Limits(2, GIB // 2, "/sys/fs/cgroup/jobs/memory.max")
    above = of_version_1("50000\n", "100000\n", f"{2 * GIB}\n", "jobs")
    root = tree(tmp_path / "1", VERSION_1, of_version_1("200000\n", "100000\n", f"{GIB}\n"), above)
    assert limits(root) == Limits(0.5, GIB, "/sys/fs/cgroup/memory/jobs/mine/memory.limit_in_bytes")


def test_a_group_beside_our_own_limits_nothing(tmp_path: Path) -> None:
    beside = of_version_2("100000 100000\n", f"{GIB}\n", "jobs/other")
    assert limits(tree(tmp_path, VERSION_2, beside)) == Limits()


@pytest.mark.parametrize(
    "files",
    [
        of_version_2("max 100000\n", "max\n"),
        of_version_2("", ""),
        of_version_2("1e5 100000\n", "many\n"),
        of_version_2("-1 100000\n", "-1\n"),
        of_version_2("100000\n", "0\n"),
        of_version_2("100000 0\n", "0\n"),
        {},
    ],
)
def test_max_and_what_cannot_be_read_are_no_limits(tmp_path: Path, files: dict[str, str]) -> None:
    assert limits(tree(tmp_path, VERSION_2, files)) == Limits()


def test_version_1_says_by_minus_one_and_by_a_huge_number_that_there_is_no_limit(tmp_path: Path) -> None:
    root = tree(tmp_path, VERSION_1, of_version_1("-1\n", "100000\n", "9223372036854771712\n"))
    assert limits(root).cores == inf
    assert machine.memory(root) == machine.memory(tmp_path / "nothing")
    assert machine.limit_of_memory(root) == ""


def test_a_file_that_is_a_folder_or_holds_no_text_is_no_limit_and_no_error(tmp_path: Path) -> None:
    root = tree(tmp_path, VERSION_2)
    (root / "sys/fs/cgroup/jobs/mine/cpu.max").mkdir(parents=True)
    (root / "sys/fs/cgroup/jobs/mine/memory.max").write_bytes(b"\xff\xfe\x00")
    assert limits(root) == Limits()
    (root / "proc/self/mountinfo").write_bytes(b"\xff - \n\n - cgroup2\n1 2 - cgroup2 x y\n")
    limits.cache_clear()
    assert limits(root) == Limits()


def test_a_container_that_sees_its_own_group_at_the_top_is_limited_by_it(tmp_path: Path) -> None:
    """The path may be one below what is mounted, or one of the host, of which nothing else is there."""
    mount = "31 23 0:28 /docker/1a2b /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    files = {"proc/self/mountinfo": mount, "sys/fs/cgroup/memory.max": "1000\n"}
    for number, path in enumerate(("/docker/1a2b", "/docker/1a2b/part", "/../../other", "/kube/docker")):
        root = tree(tmp_path / str(number), files, {"proc/self/cgroup": f"0::{path}\n"})
        assert limits(root) == Limits(memory=1000, memory_file="/sys/fs/cgroup/memory.max")


def test_a_mounted_folder_may_have_a_space_in_its_name(tmp_path: Path) -> None:
    mount = "31 23 0:28 / /sys/my\\040groups rw - cgroup2 cgroup rw\n"
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount})
    tree(root, {"sys/my groups/memory.max": "1000\n"})
    assert limits(root).memory == 1000


def test_a_share_of_a_core_counts_as_one_and_the_machine_has_no_more_than_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(4)), raising=False)
    for quota, cores in {"20000": 1, "100000": 1, "250000": 2, "900000": 4, "max": 4}.items():
        root = tree(tmp_path / quota, VERSION_2, of_version_2(f"{quota} 100000\n", "max\n"))
        assert machine.cores(root) == cores


def test_memory_is_the_smaller_of_the_machines_and_the_containers(tmp_path: Path) -> None:
    whole = machine.memory(tmp_path / "nothing")
    small = tree(tmp_path / "small", VERSION_2, of_version_2("max 1\n", f"{whole // 2}\n"))
    large = tree(tmp_path / "large", VERSION_2, of_version_2("max 1\n", f"{whole * 2}\n"))
    assert machine.memory(small) == whole // 2
    assert machine.limit_of_memory(small) == "/sys/fs/cgroup/jobs/mine/memory.max"
    assert machine.memory(large) == whole
    assert machine.limit_of_memory(large) == ""


def test_a_system_that_does_not_say_how_much_memory_it_has_limits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.sysconf_names")
    assert machine.memory(tmp_path / "nothing") > 2**60
    assert machine.memory(tree(tmp_path, VERSION_2, of_version_2("max 1\n", "1000\n"))) == 1000
