import pytest

from simulator.books import Books, Entry
from simulator.prompt_cache import CacheUse
from simulator.usage import Usage


def an_entry(number, **fields):
    return Entry(1000, "POST", "/v1/messages", "", f"req_{number}", **fields)


def books_with(number, entries_max=100):
    books = Books(entries_max)
    for one in range(1, number + 1):
        entry = an_entry(one)
        books.begin(entry)
        books.end(entry, 2000)
    return books


def seqs(page):
    return [entry["seq"] for entry in page["entries"]]


@pytest.mark.parametrize(("since", "expected"), [(0, [1, 2, 3]), (2, [3]), (3, []), (9, [])])
def test_reading_goes_on_after_the_last_one_seen(since, expected):
    assert seqs(books_with(3).page(since)) == expected


def test_old_entries_fall_out_and_are_told_as_lost():
    page = books_with(5, entries_max=2).page(1)
    assert (seqs(page), page["lost"], page["total"]) == ([4, 5], 2, 5)


def test_pages_join_to_the_whole():
    books = books_with(5)
    first = books.page(0, 3)
    assert seqs(first) + seqs(books.page(first["next"], 3)) == [1, 2, 3, 4, 5]


def test_open_requests_are_shown_apart():
    books = Books(10)
    books.begin(an_entry(1))
    page = books.page(0)
    assert ([entry["request_id"] for entry in page["open"]], seqs(page)) == (["req_1"], [])


def test_an_entry_that_was_open_when_the_books_were_emptied_stays_out():
    books = Books(10)
    entry = an_entry(1)
    books.begin(entry)
    books.clear()
    books.end(entry, 2000)
    assert books.page(0)["total"] == 0


def test_a_cut_answer_shows_the_tokens_generated_so_far():
    entry = an_entry(1, usage=Usage(7, CacheUse(read=2)), output_tokens=3, outcome="cut")
    usage = entry.as_json()["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (
        7,
        2,
        3,
    )
