"""The page in a browser: what somebody sees who looks, types and clicks."""

from __future__ import annotations

import pytest
from tests.processes import until
from tests.retrieval.demo.conftest import HOSTILE, LARGE
from tests.retrieval.shop import GENRES

SIZES = [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)]


def best(shown, user: int, k: int, *, exclude=()) -> list[str]:
    ids, _ = shown.world.expected(shown.world.user_vector(user), k, exclude=exclude)
    return [shown.world.title(item) for item in ids]


def test_it_begins_empty_and_says_what_to_do(visit):
    assert visit.text("#answer-status") == "Pick a user, or type an id."
    assert visit.titles("#items") == []
    assert visit.page.title() == "Rowbank: recommendations"


def test_a_user_is_answered_with_titles_scores_history_and_timings(shown, visit):
    assert visit.ask("5") == best(shown, 5, 10, exclude=shown.world.histories[5])
    assert visit.text("#answer-status") == "10 items, based on this user's vector."
    _, scores = shown.world.expected(shown.world.user_vector(5), 1, exclude=shown.world.histories[5])
    assert visit.text("#items li:first-child .score") == f"{scores[0]:.3f}"
    assert visit.text("#person-title") == "User 5"
    assert "5 items in the history" in visit.text("#person-note")
    visit.page.wait_for_selector("#person-history .chip")
    history = visit.page.locator("#person-history .chip").all_text_contents()
    assert history == [shown.world.title(item) for item in reversed(shown.world.histories[5])]
    assert "Time by stage" in visit.text("#explanation")
    assert visit.said == []
    assert "user=5" in visit.page.url


def test_texts_of_the_data_are_never_html(visit):
    """User 1 has seen the item whose title looks like a script, and has a motto that looks like an element."""
    visit.ask("1")
    visit.page.wait_for_selector("#person-history .chip")
    assert visit.page.locator("#person-history .chip").all_text_contents() == [HOSTILE]
    assert "<i>1</i>" in visit.text("#person-features")
    visit.page.uncheck("#exclude-seen")
    visit.page.fill("#k", "40")
    visit.page.keyboard.press("Tab")
    visit.until_there_are(40, "#items li")
    assert HOSTILE in visit.titles("#items")
    assert visit.page.title() == "Rowbank: recommendations"
    assert visit.page.locator("main b, main i, main script").count() == 0


def test_ids_beyond_what_javascript_counts_stay_exact(shown, visit):
    visit.ask(str(LARGE))
    assert visit.text("#person-title") == f"User {LARGE}"
    visit.ask("12")
    visit.page.wait_for_selector("#person-history .chip")
    assert visit.page.locator("#person-history .chip").first.text_content() == f"Title {LARGE}"
    assert "999999, not in the catalogue" in visit.text("#person-history")
    visit.page.locator("#person-history .chip").first.click()
    visit.page.wait_for_selector("#similar-items li")
    assert visit.text("#similar-title") == f"Similar to Title {LARGE}"


def test_an_unknown_user_sees_the_fallback_and_that_it_is_one(visit):
    """Item 100 is in every history, so it is the most popular one."""
    visit.page.uncheck("#exclude-seen")
    assert visit.ask("777")[0] == HOSTILE
    assert "based on what is popular with everybody" in visit.text("#answer-status")
    assert "knows nothing of this user" in visit.text("#answer-notes")
    assert "Nothing is stored of this user" in visit.text("#person-note")


def test_a_wrong_id_is_told_in_words_and_the_next_answer_takes_that_back(visit):
    visit.ask("anna")
    assert "the user ids of model 'two_tower' v1 are integers" in visit.text("#problem")
    assert visit.text("#answer-status") == "There is no answer."
    visit.ask("3")
    assert visit.page.locator("#problem").is_hidden()


def add_condition(visit, place: int, effect: str, feature: str, test: str, value: str) -> None:
    visit.page.click("#add-condition")
    row = visit.page.locator("#conditions li").nth(place)
    for number, chosen in enumerate((effect, feature, test)):
        row.locator("select").nth(number).select_option(chosen)
    if effect == "lift":
        row.locator("input").nth(0).fill("100")
    row.locator("input").nth(1).fill(value)
    visit.page.keyboard.press("Tab")
    visit.settled()


def test_conditions_filter_lift_and_spread(shown, visit):
    """Of the items of user 3, War alone, then those from 2000 on lifted by 100, then at most one of a genre."""
    world, seen = shown.world, shown.world.histories[3]
    features = {item: world.features(item) for item in world.items.tolist()}
    others = [item for item, one in features.items() if "War" not in one["genres"]]
    visit.ask("3")
    add_condition(visit, 0, "keep", "genres", "has", "War")
    assert visit.titles("#items") == best(shown, 3, 10, exclude=[*seen, *others])
    assert "filter" in visit.text("#explanation")
    visit.page.locator("#json-box summary").click()
    assert visit.page.input_value("#json").split() == ["{", '"feature":', '"genres",', '"any":', "[", '"War"', "]", "}"]
    add_condition(visit, 1, "lift", "year", "gte", "2000")
    left = [item for item, one in features.items() if item not in [*seen, *others]]
    lifted, plain = [[item for item in left if (features[item]["year"] >= 2000) == young] for young in (True, False)]
    ranked = [
        title
        for part, rest in ((lifted, plain), (plain, lifted))
        for title in best(shown, 3, len(part), exclude=[*seen, *others, *rest])
    ]
    assert visit.titles("#items") == ranked[:10]
    assert "year is at least 2000" in visit.text("#items li:first-child .parts")
    visit.page.click("#conditions li:first-child .remove")
    visit.settled()
    visit.page.select_option("#diversity", "genres")
    visit.settled()
    visit.page.fill("#diversity-most", "1")
    visit.page.keyboard.press("Tab")
    visit.settled()
    assert len(visit.titles("#items")) <= len(GENRES)


def test_what_is_typed_as_json_counts(shown, visit):
    visit.ask("3")
    visit.page.locator("#json-box summary").click()
    visit.page.fill("#json", '{"feature": "in_stock", "any": [true]}')
    visit.page.keyboard.press("Tab")
    visit.settled()
    odd = [item for item in shown.world.items.tolist() if item % 2]
    assert visit.titles("#items") == best(shown, 3, 10, exclude=[*shown.world.histories[3], *odd])
    visit.page.fill("#json", '{"feature": "genre", "any": ["War"]}')
    visit.page.keyboard.press("Tab")
    visit.settled()
    assert "the items have no feature 'genre'" in visit.text("#problem")
    visit.page.fill("#json", "{")
    visit.page.keyboard.press("Tab")
    assert visit.text("#json-fault").startswith("This is no JSON")


def test_a_stored_filter_can_be_picked(shown, visit):
    shown.http.put("/v1/filters/war", json={"filter": {"feature": "genres", "any": ["War"]}}).raise_for_status()
    visit.page.reload()
    visit.page.wait_for_selector("#named-filter")
    visit.page.select_option("#named-filter", "war")
    others = [item for item in shown.world.items.tolist() if "War" not in shown.world.features(item)["genres"]]
    assert visit.ask("3") == best(shown, 3, 10, exclude=[*shown.world.histories[3], *others])


def test_more_items_follow_without_repeats(shown, visit):
    visit.ask("2")
    visit.page.click("#more")
    visit.until_there_are(20, "#items li")
    assert visit.titles("#items") == best(shown, 2, 20, exclude=shown.world.histories[2])
    assert visit.page.locator("#items .rank").all_text_contents() == [str(rank) for rank in range(1, 21)]
    assert visit.page.evaluate("document.activeElement.closest('li').querySelector('.rank').textContent") == "11"


def test_no_item_left_is_said(visit):
    visit.ask("2")
    add_condition(visit, 0, "keep", "year", "gte", "3000")
    assert visit.text("#answer-status").startswith("No item is left")


def test_similar_items_lead_on_and_back(shown, visit):
    first = visit.ask("2")[0]
    visit.page.locator("#items .similar").first.click()
    visit.page.wait_for_selector("#similar-items li")
    item = next(one for one in shown.world.items.tolist() if shown.world.title(one) == first)
    near, _ = shown.world.expected(shown.world.vectors([item])[0], 10, exclude=[item])
    assert visit.titles("#similar-items") == [shown.world.title(one) for one in near]
    visit.page.locator("#similar-items .similar").nth(1).click()
    until(lambda: visit.text("#similar-title") == f"Similar to Title {near[1]}")
    visit.page.click("#similar-back")
    until(lambda: visit.text("#similar-title") == f"Similar to Title {item}")
    visit.page.keyboard.press("Escape")
    assert visit.page.locator("#similar").is_hidden()


def test_the_keyboard_is_enough(visit):
    """From the address to the answer: the first stop leads to it, a stored user is a button."""
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    visit.page.locator("#some-users button").first.focus()
    visit.page.keyboard.press("Enter")
    visit.settled()
    assert visit.page.input_value("#user") == "1"
    assert len(visit.titles("#items")) == 10


def test_a_link_names_whom_it_shows(shown, visit):
    visit.page.goto(f"{shown.url}/demo?user=4")
    visit.page.wait_for_selector("#items li")
    assert visit.text("#person-title") == "User 4"


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_nothing_stands_in_the_way_of_anybody(shown, browser, visit, scheme, width):
    """Rules of axe on labels, names, contrast and structure; and no line is wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 740})
    visit.ask("12")
    page.wait_for_selector("#person-history .chip")
    page.click("#add-condition")
    page.locator("#json-box summary").click()
    require_accessible(axe, page, width)
    page.locator("#items .similar").first.click()
    page.wait_for_selector("#similar-items li")
    require_accessible(axe, page, width)


def require_accessible(axe, page, width):
    found = axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
