"""The words of the built-in world as plain tables: polar families, domains with their aspects, openings, outcomes.

If a table changes, the world changes; `grammar.py` puts the words together. In a template a word in
braces is a slot: {who} is the teller of the text, every other slot is drawn from SLOTS.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A shade of quality with its two poles; `kind` is the kind of aspects that it applies to."""

    kind: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def side(self, sign: int) -> tuple[str, ...]:
        """The words of one pole: 1 the positive, -1 the negative one."""
        return self.positive if sign > 0 else self.negative


# kind | positive words | negative words. No word occurs twice or anywhere else in the world, and no prefix such as
# un- or suffix such as -less marks a side, so that spelling does not give the polarity away.
_FAMILIES = """
any    | superb great wonderful            | awful terrible dreadful
any    | pleasant lovely nice              | vile horrid grim
any    | impressive remarkable striking    | feeble poor meagre
any    | brilliant stellar splendid        | abysmal atrocious grisly
any    | admirable noble worthy            | shameful pitiful lamentable
any    | charming delightful enchanting    | annoying irritating grating
any    | excellent outstanding exquisite   | mediocre inferior shoddy
any    | refreshing uplifting heartening   | tiresome wretched dreary
any    | satisfying rewarding pleasing     | frustrating maddening vexing
any    | fabulous fantastic marvellous     | horrible appalling ghastly
story  | gripping thrilling exciting       | tedious boring dull
story  | clever witty sharp                | stupid silly foolish
story  | touching moving heartfelt         | hollow shallow wooden
story  | original inventive inspired       | trite stilted banal
story  | persuasive plausible credible     | absurd ludicrous contrived
story  | lucid coherent crisp              | muddled confusing obscure
taste  | delicious tasty scrumptious       | disgusting revolting foul
taste  | fresh ripe zesty                  | stale rancid mouldy
taste  | fragrant aromatic savoury         | bland insipid tepid
taste  | golden tender flaky               | sodden limp mushy
taste  | nourishing hearty wholesome       | greasy rank oily
taste  | juicy succulent creamy            | tough leathery burnt
place  | pristine tidy gleaming            | dirty squalid grubby
place  | cosy snug homely                  | scruffy tatty ramshackle
place  | spacious roomy airy               | cramped confined poky
place  | quiet peaceful tranquil           | blaring rowdy raucous
place  | sunny bright luminous             | sombre dark murky
place  | picturesque scenic gorgeous       | ugly hideous bleak
device | reliable solid robust             | flimsy rickety fragile
device | fast snappy nimble                | slow sluggish lethargic
device | handy convenient practical        | cumbersome fiddly bulky
device | sleek polished refined            | garish tacky gaudy
device | smooth steady stable              | jerky glitchy errant
device | accurate precise exact            | defective erratic skewed
people | friendly kind warm                | rude surly hostile
people | attentive helpful thoughtful      | remiss slack negligent
people | cheerful jolly merry              | gruff sullen morose
people | skilled proficient expert         | inept bungling amateurish
people | polite tactful gracious           | arrogant pompous smug
people | patient gentle placid             | brusque harsh curt
"""

# Words around a polar word. Each is drawn without regard to the label.
NEGATORS = ("not", "not at all", "hardly", "never", "far from", "anything but", "by no means")
STRONG = ("very", "really", "truly", "extremely", "especially", "particularly")
WEAK = ("slightly", "somewhat", "a little", "a bit", "mildly")
EQUAL = ("as", "just as", "every bit as")
UNEQUAL = (("less", "than"), ("far less", "than"), ("not as", "as"), ("not nearly as", "as"))
REFERENCES = ("before", "last time", "last year", "last summer", "two years ago", "in the past", "the year before")
LEAD_INS = ("all in all", "on the whole", "overall", "this time", "once again", "in short", "for the record")
OTHERS = ("a friend", "a colleague", "the neighbours", "the family", "everybody", "most people", "a critic")


@dataclass(frozen=True)
class Domain:
    """A field of life: its aspects by kind (a star marks a plural), neutral openings, and outcomes."""

    name: str
    aspects: dict[str, str]
    openings: tuple[str, ...]
    happy: tuple[str, ...]
    unhappy: tuple[str, ...]


DOMAINS = (
    Domain(
        "films",
        {
            "story": "plot, story, ending, dialogue, screenplay, first half, final scene, jokes*, flashbacks*",
            "people": "director, leading actor, leading actress, narrator, stunt crew, extras*",
            "place": "cinema, foyer, auditorium",
            "any": "acting, music, soundtrack, camera work, editing, costumes*, special effects*",
        },
        (
            "{who} saw {title} at the {cinema} {when}",
            "{who} watched {title} with {company} {when}",
            "{title} is a film about {person} and {person}",
            "{title} ran for {number} weeks at the {cinema}",
        ),
        ("{who} watched it twice", "{who} bought the disc the next day", "the audience clapped and cheered"),
        ("{who} left before the end", "{who} fell asleep half way through", "the audience booed and hissed"),
    ),
    Domain(
        "books",
        {
            "story": "plot, story, opening, ending, prose, dialogue, middle part, chapters*, twists*, footnotes*",
            "people": "author, translator, bookseller, librarian, publisher",
            "place": "bookshop, reading room",
            "any": "cover, title, binding, translation, introduction, drawings*, maps*",
        },
        (
            "{who} read {title} {when}",
            "{who} borrowed {title} from {company} {when}",
            "{title} is a novel of {number} chapters about {person} and {person}",
            "{who} read {title} aloud to {company} {when}",
        ),
        ("{who} could not put it down", "{who} finished it in one night", "{who} gave a copy to every friend"),
        ("{who} gave up after ten pages", "{who} threw it into the bin", "{who} sold it the next morning"),
    ),
    Domain(
        "food",
        {
            "taste": "pie, pasta, bread, fish, lamb, cake, curry, stew, pizza, dumplings*, potatoes*, pancakes*",
            "people": "waiter, waitress, chef, cook, owner, barman",
            "place": "dining room, terrace, bar, garden",
            "any": "menu, dessert, lunch, coffee, wine, drinks*, starters*",
        },
        (
            "{who} had {meal} at the {restaurant} {when}",
            "{who} ordered the {dish} and the {dish} {when}",
            "{who} took {company} to the {restaurant} {when}",
            "the {restaurant} in {town} opened {when}",
        ),
        ("{who} asked for a second helping", "{who} left a big tip", "{who} booked a table for the next week"),
        ("{who} sent the plates back", "{who} left no tip", "{who} went home hungry"),
    ),
    Domain(
        "hotels",
        {
            "place": "lobby, bathroom, room, balcony, garden, corridor, pool, sauna, bedrooms*, stairs*",
            "people": "receptionist, porter, manager, cleaner, night guard, maids*",
            "taste": "breakfast, buffet, supper, snacks*",
            "any": "view, location, bed, shower, furniture, pillows*, towels*",
        },
        (
            "{who} stayed at the {hotel} in {town} {when}",
            "{who} booked a room at the {hotel} in {town} {when}",
            "the {hotel} is {number} minutes from the {landmark}",
            "{who} spent {number} nights in {town} with {company}",
        ),
        ("{who} stayed an extra night", "{who} booked the same room again", "{who} slept like a baby"),
        ("{who} checked out a day early", "{who} moved to another hotel", "{who} did not sleep a wink"),
    ),
    Domain(
        "phones",
        {
            "device": "screen, battery, camera, speaker, charger, keyboard, software, alarm, buttons*, apps*, menus*",
            "people": "seller, technician, support team, shop assistant, courier",
            "place": "shop, showroom",
            "any": "design, sound, ringtone, case, colour, manual, photos*",
        },
        (
            "{who} bought the {phone} in {town} {when}",
            "{who} got the {phone} from {company} {when}",
            "the {phone} came out {when} in {number} colours",
            "{who} used the {phone} for {number} weeks",
        ),
        ("{who} ordered another one", "{who} would buy it again", "the old one went straight into a drawer"),
        ("{who} sent it back to the shop", "{who} went back to the old one", "it ended up in a drawer"),
    ),
    Domain(
        "travel",
        {
            "place": "beach, harbour, village, old town, campsite, cabin, market, castle, station, valley",
            "people": "guide, driver, captain, crew, conductor, locals*, lifeguards*",
            "device": "ferry, bus, rental car, audio guide, ticket machine, bikes*, tents*",
            "any": "tour, trip, journey, weather, route, boat ride, sights*",
        },
        (
            "{who} went to {town} by {vehicle} {when}",
            "{who} spent {number} days in {town} {when}",
            "{who} travelled from {town} to {town} with {company}",
            "the {vehicle} from {town} to {town} took {number} hours",
        ),
        ("{who} took hundreds of pictures", "{who} wanted to stay forever", "{who} booked the next trip at once"),
        ("{who} went home two days early", "{who} counted the hours", "{who} asked the agency for a refund"),
    ),
)


@dataclass(frozen=True)
class Outcome:
    """Consequences of an experience, in unlabelled text only; both sides are alike except for the deciding words."""

    verbs: tuple[str, ...]
    gestures: tuple[str, ...]
    adverbs: tuple[str, ...]
    ends: tuple[str, ...]


HAPPY = Outcome(
    verbs=("loved", "enjoyed", "praised", "recommended", "admired"),
    gestures=("smiled", "cheered", "grinned", "rejoiced"),
    adverbs=("luckily", "happily", "fortunately"),
    ends=(
        "it was worth every penny",
        "it was a joy and a success",
        "{who} told everybody to go there",
        "{who} gave it five stars",
        "{who} thanked {company}",
        "{who} will come back",
    ),
)
UNHAPPY = Outcome(
    verbs=("hated", "regretted", "criticised", "detested", "cursed"),
    gestures=("frowned", "sighed", "groaned", "complained"),
    adverbs=("sadly", "alas", "unfortunately"),
    ends=(
        "it was a waste of money",
        "it was a bore and a failure",
        "{who} told everybody to stay away",
        "{who} gave it one star",
        "{who} blamed {company}",
        "{who} asked for the money back",
    ),
)
OBJECTS = ("it", "all of it", "the whole thing", "every minute of it", "most of it", "it from start to finish")
MOMENTS = ("all the way home", "in the end", "the whole time", "afterwards", "more than once", "again and again")
NEUTRAL_ENDS = (
    "{who} had taken {company} along",
    "{who} had paid for it in advance",
    "{who} had {number} hours for it",
    "that was how it ended {when}",
    "it was {number} months in the making",
)

NAMES = tuple(
    "Anna Ben Clara David Emma Felix Grace Hannah Ivan Julia Karl Laura Martin Nina Oscar Paula Robert Sara Thomas "
    "Vera Walter Yusuf Zoe Amir Bruno Carmen Daria Elias Fatima George Helen Ida Jonas Kenji Leila Marco Nora Olga "
    "Peter Rosa Stefan Tara".split()
)
TELLERS = ("I", "we", "I", "we", "my wife and I", "my father and I")

SLOTS: dict[str, tuple[str, ...]] = {
    "when": (
        *(f"on {day}" for day in "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()),
        *(f"last {season}" for season in "spring summer autumn winter week month weekend".split()),
        *(f"in {month}" for month in "January February March April May June July August September October".split()),
        *(f"{n} {unit} ago" for n in ("two", "three", "four", "five") for unit in ("days", "weeks", "months")),
        "yesterday",
        "during the holidays",
    ),
    "company": (
        "a friend",
        "an old friend",
        "a colleague",
        "some colleagues",
        "the children",
        "the neighbours",
        "an uncle",
        "an aunt",
        "a cousin",
        "two cousins",
        "the whole family",
        "the grandparents",
        "a neighbour",
        "a student",
    ),
    "number": tuple("two three four five six seven eight nine ten eleven twelve fifteen twenty thirty".split()),
    "town": tuple(
        "Amberly Brackwater Corvin Dunmore Eastwick Farnholm Glenport Harrow Ironbridge Kelsey Larkhill Marston "
        "Norvik Oakford Pellworm Quarry Redcliff Selby Torrin Ulmen Varna Westhaven Yarrow Zennor".split()
    ),
    "person": (
        "a farmer",
        "a painter",
        "a spy",
        "a sailor",
        "a judge",
        "a baker",
        "a thief",
        "a queen",
        "a doctor",
        "a clown",
        "two sisters",
        "two brothers",
        "a wizard",
        "a robot",
        "a pilot",
        "a teacher",
        "a ghost",
        "a detective",
    ),
    "title": tuple(
        f"The {first} {second}"
        for first in "Silver Last Seventh Paper Glass Winter Northern Hidden Iron Painted Second Wandering".split()
        for second in "Bridge Letter Garden Island Mirror Train Orchard Lantern Violin Door Captain River".split()
    ),
    "cinema": tuple(
        f"{name} cinema" for name in "Apollo Capitol Corso Lux Metropol Odeon Palace Rex Roxy Tivoli".split()
    ),
    "restaurant": tuple(
        f"{animal} {house}"
        for animal in ("Red Lion", "Blue Heron", "Black Swan", "White Horse", "Green Parrot", "Old Mill", "Two Crowns")
        for house in ("inn", "restaurant")
    ),
    "hotel": tuple(
        f"Hotel {name}" for name in "Astoria Bristol Central Continental Europa Imperial Regina Savoy".split()
    ),
    "landmark": tuple("airport beach castle cathedral harbour market museum park river station theatre zoo".split()),
    "meal": tuple("breakfast brunch lunch dinner supper".split()),
    "dish": tuple(
        "pie pasta fish lamb cake curry salad stew chicken pizza dumplings potatoes pancakes soup rice".split()
    ),
    "phone": tuple(
        f"{brand} {n}" for brand in "Orbit Pixie Nova Vega Falcon Comet".split() for n in "Mini Plus Max".split()
    ),
    "vehicle": tuple("train bus ferry boat car plane coach tram".split()),
}


def _read_families() -> tuple[Family, ...]:
    rows = (line.split("|") for line in _FAMILIES.strip().splitlines())
    return tuple(Family(kind.strip(), tuple(good.split()), tuple(bad.split())) for kind, good, bad in rows)


FAMILIES = _read_families()
KINDS = tuple(dict.fromkeys(family.kind for family in FAMILIES))
