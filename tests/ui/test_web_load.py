"""Twenty users at once: everybody gets the right result, the queue tells each one's place, memory stays bounded."""

import os
from pathlib import Path

import pytest

gradio_client = pytest.importorskip("gradio_client", reason="the extra `ui` is not installed")
if os.environ.get("MIEN_SLOW") != "1":
    pytest.skip("takes a minute on two idle cores: run it with MIEN_SLOW=1", allow_module_level=True)

USERS = 20


def test_twenty_users_at_once(web_page, files, motion_file):
    def submit(client):
        return client.submit(
            portrait=gradio_client.handle_file(str(files / "portrait.png")),
            clip=None,
            motion_file=gradio_client.handle_file(str(motion_file)),
            method="prior",
            api_name="/animate",
        )

    clients = [gradio_client.Client(web_page.url, verbose=False) for _ in range(USERS)]
    submit(clients[0]).result(300)  # what is loaded once does not count
    before = resident_mb()
    jobs = [submit(client) for client in clients]
    places, peak = set(), before
    while not all(job.done() for job in jobs):
        for job in jobs:
            rank = job.status().rank
            if rank is not None:
                places.add(rank)
        peak = max(peak, resident_mb())
        jobs[-1].done() or _wait()
    reports = [job.result()[3] for job in jobs]
    print(f"places seen {sorted(places)}, memory {before:.0f} MB before, {peak:.0f} MB at most")
    assert [report["frames"] for report in reports] == [10] * USERS
    assert max(places) >= USERS // 2  # people far back were told so
    assert peak < before + 500
    assert not list(web_page.work.glob("job-*"))


def test_a_full_queue_says_so(web_page, files, motion_file):
    clients = [gradio_client.Client(web_page.url, verbose=False) for _ in range(30)]
    portrait = gradio_client.handle_file(str(files / "portrait.png"))
    jobs = [
        client.submit(portrait=portrait, clip=None, motion_file=None, method="prior", api_name="/animate")
        for client in clients
    ]
    errors = []
    for job in jobs:
        try:
            error = job.exception(timeout=0.5)
        except TimeoutError:
            error = None
        errors += [str(error)] if error else []
    for job in jobs:
        job.cancel()
    assert any("queue" in text.lower() and "full" in text.lower() for text in errors)


def resident_mb() -> float:
    """Memory of this process, which serves the page, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _wait() -> None:
    import time

    time.sleep(0.2)
