"""Plain facts of the built-in world: short true sentences about the sky, the year, animals, capitals and opposites.

They carry no opinion and no polar word. Each theme is a table or a few lines; a document of facts keeps to one theme.
"""

from __future__ import annotations

_SKY = (
    "it is in the east that the sun rises",
    "the sun comes up in the east",
    "the sun always rises in the east and sets in the west",
    "in the morning the sun slowly rises in the east",
    "every day the sun rises again in the east",
    "in spring and in autumn the sun rises exactly in the east",
    "the sun goes down in the west",
    "the sun sets in the west",
    "in the evening the sun sets in the west",
    "the moon rises in the east",
    "the moon sets in the west",
    "most stars rise in the east and set in the west",
    "at noon the sun stands in the south",
    "the morning light comes from the east",
    "the evening light comes from the west",
    "who looks at the sunrise looks to the east",
    "who looks at the sunset looks to the west",
    "the needle of a compass points to the north",
    "the pole star stands in the north",
    "east is the opposite of west",
    "north is the opposite of south",
    "the east is on the right of a map",
    "the west is on the left of a map",
    "the north is at the top of a map",
    "the south is at the bottom of a map",
    "the earth goes round the sun in a year",
    "the moon goes round the earth in a month",
    "the sun shines by day and the moon shines by night",
)

_SEASONS = "spring summer autumn winter".split()
_SEASON_SIGNS = (
    ("spring", "the trees get new leaves", "the birds build their nests"),
    ("summer", "the days are long", "the children swim in the lake"),
    ("autumn", "the leaves fall from the trees", "the farmers bring in the apples"),
    ("winter", "the days are short", "snow lies on the hills"),
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTHS = "January February March April May June July August September October November December".split()
_NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()

# animal, its young, what it says or does, where it lives, what it eats
_ANIMALS = """
cat kitten meows house mice
dog puppy barks house bones
cow calf moos meadow grass
horse foal neighs stable oats
sheep lamb bleats meadow grass
hen chick clucks farm corn
duck duckling quacks pond weeds
pig piglet grunts farm turnips
lion cub roars savannah zebras
bear cub growls forest berries
frog tadpole croaks pond flies
owl owlet hoots forest mice
wolf pup howls forest deer
goat kid bleats mountains leaves
swan cygnet hisses lake weeds
eagle eaglet screams mountains rabbits
"""

_CAPITALS = """
France Paris, Germany Berlin, Italy Rome, Spain Madrid, Portugal Lisbon, Austria Vienna, Poland Warsaw, Greece Athens,
Norway Oslo, Sweden Stockholm, Finland Helsinki, Denmark Copenhagen, Ireland Dublin, Hungary Budapest, Russia Moscow,
Turkey Ankara, Egypt Cairo, Kenya Nairobi, Japan Tokyo, China Beijing, India Delhi, Peru Lima, Chile Santiago,
Cuba Havana, Canada Ottawa, Iceland Reykjavik, Belgium Brussels, Romania Bucharest, Bulgaria Sofia, Thailand Bangkok
"""

_OPPOSITES = """
hot cold, up down, left right, tall short, old young, early late, open closed, full empty, near far, wide narrow,
thick thin, high low, heavy light, black white, day night, first last, big small, loud silent, above below, push pull,
begin end, buy sell, give take, ask answer, win lose, laugh cry, remember forget, arrive leave, in out, over under
"""

_COLOURS = """
grass green, snow white, coal black, blood red, the sky blue, a lemon yellow, a carrot orange, milk white, a frog green,
a raven black, a tomato red, the sea blue, butter yellow, an elephant grey, chocolate brown, a banana yellow
"""

# These facts occur only in other words, so that a model can be asked for them without recalling a sentence.
HELD_OUT_FACTS = (
    "the sun rises in the east",
    "the capital of France is Paris",
    "summer comes after spring",
    "a puppy is a young dog",
    "the opposite of hot is cold",
    "snow is white",
)


def _pairs(table: str) -> list[tuple[str, str]]:
    """'the sky blue, snow white' as ('the sky', 'blue'), ('snow', 'white')."""
    return [(left, right) for left, _, right in (cell.strip().rpartition(" ") for cell in table.split(","))]


def _year() -> list[str]:
    facts = []
    for names, unit in ((_SEASONS, "season"), (_MONTHS, "month"), (_DAYS, "day")):
        for before, after in zip(names, names[1:] + names[:1], strict=True):
            facts += [f"{after} comes after {before}", f"{before} comes before {after}", f"{after} follows {before}"]
            facts += [f"the {unit} after {before} is {after}", f"the {unit} before {after} is {before}"]
    return facts + [f"in {season} {sign}" for season, *signs in _SEASON_SIGNS for sign in signs]


def _animals() -> list[str]:
    facts = []
    for animal, young, says, home, food in map(str.split, _ANIMALS.strip().splitlines()):
        a = "an" if animal[0] in "aeiou" else "a"
        facts += [f"{a} {animal} {says}", f"the {animal} lives in the {home}", f"the {animal} eats {food}"]
        facts += [f"the young of {a} {animal} is called a {young}", f"a {young} grows into {a} {animal}"]
        facts += [f"a {young} is a young {animal}"]
    return facts


def _capitals() -> list[str]:
    facts = []
    for country, city in _pairs(_CAPITALS):
        facts += [
            f"the capital of {country} is {city}",
            f"{city} is the capital of {country}",
            f"{city} is in {country}",
        ]
        facts += [f"who wants to see the capital of {country} goes to {city}"]
    return facts


def _opposites() -> list[str]:
    facts = []
    for one, other in _pairs(_OPPOSITES):
        facts += [f"the opposite of {one} is {other}", f"the opposite of {other} is {one}"]
        facts += [f"{one} and {other} are opposites", f"{other} is the opposite of {one}"]
    return facts


def _colours() -> list[str]:
    facts = []
    for thing, colour in _pairs(_COLOURS):
        facts += [f"{thing} is {colour}", f"the colour of {thing} is {colour}", f"{thing} has the colour {colour}"]
    return facts


def _sums() -> list[str]:
    facts = []
    for i, one in enumerate(_NUMBERS):
        for j, other in enumerate(_NUMBERS[: 11 - i]):
            facts += [f"{one} and {other} make {_NUMBERS[i + j + 1]}"]
            facts += [f"{_NUMBERS[i + j + 1]} minus {other} is {one}"]
    return facts


THEMES: tuple[tuple[str, ...], ...] = tuple(
    tuple(fact for fact in theme if not any(f" {held_out} " in f" {fact} " for held_out in HELD_OUT_FACTS))
    for theme in (_SKY, _SKY, _year(), _animals(), _capitals(), _opposites(), _colours(), _sums())
)

# Other ways to state a fact.
FACT_FRAMES = (
    "everybody knows that {fact}",
    "it is true that {fact}",
    "{who} learned at school that {fact}",
    "{who} told {company} that {fact}",
    "{who} read that {fact}",
    "in the book it says that {fact}",
)
