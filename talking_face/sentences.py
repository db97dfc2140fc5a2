"""Sentences for synthetic speech: an English generator with every phone in many neighbourhoods, and other languages.

English comes from templates filled with word lists, from fixed sentences written for dense lip closures and rounding,
from word lists without grammar, numbers, spelled letters and short commands of the kind audio-visual corpora use.
All of it was written for Mien. Everything is a function of the random generator that is handed in.
"""

import numpy as np

from talking_face import festival_sentences
from talking_face.sentence_lists import SENTENCES

_WORDS = {
    "person": """my father|my mother|our neighbour|the old fisherman|a young doctor|the baker|Peter|Barbara|Margaret|
    William|Joyce|Theodore|Sophie|the mayor|my brother|her sister|the painter|our teacher|the judge|a farmer|
    the pilot|every visitor|nobody|somebody|the whole family|the new boss|George|Phoebe|Matthew|Yvonne|Walter|Zoe|
    the chief engineer|my youngest cousin|the captain|their uncle|Professor White|the shopkeeper|a tall boy|the queen|
    the bus driver|Philip|Bob|Pamela|the choir|his wife|the thief|an author|the jury|Oscar""",
    "noun": """boat|bridge|apple|window|garden|mirror|paper|hammer|thumb|feather|bottle|mountain|river|pocket|basket|
    pepper|bubble|maple|ship|chair|beach|church|judge|badge|orange|treasure|measure|garage|yard|youth|voice|oven|wave|
    leather|clothing|breath|tooth|path|ring|song|finger|hill|horse|house|mouse|cloud|coin|toy|boy|oil|book|wood|foot|
    pool|moon|spoon|boot|shoe|juice|cube|music|beauty|view|bird|nurse|shirt|world|pearl|girl|law|ball|wall|thought|
    dog|rock|clock|box|father|palm|car|farm|bear|chain|lake|cage|game|plate|tree|street|cheese|key|sheep|city|
    milk|fish|bell|desk|head|web|map|cabin|hat|bag|rabbit|bus|cup|drum|lunch|brush|thunder|goat|road|stone|piano|
    potato|banana|lemon|melon|camera|umbrella|newspaper|blanket|pumpkin|timber|symbol|problem|bedroom|album|atom""",
    "place": """by the river|in the garden|at the market|near the old bridge|on the beach|behind the barn|
    above the valley|under the table|in Birmingham|beyond the hills|at my uncle's farm|in the middle of the room|
    through the woods|beside the pond|around the corner|across the field|over the wall|in the museum|on the upper floor|
    at the bus stop|in the coffee shop|along the shore|outside the theatre|between two chairs|up the mountain|
    in a small village|from the roof|within the city walls|at the airport|inside the cave|next to the fire""",
    "time": """this morning|yesterday|every Monday|on Thursday|last February|before breakfast|after lunch|at noon|
    once a month|in the evening|just now|two hours ago|for five weeks|tomorrow|in the summer|late at night|all day long|
    during the winter|on the fourth of July|at half past nine|in August|now and then|from time to time|very soon|
    while it rained|without any warning|for the first time|again and again|at dawn|by Wednesday""",
    "adjective": """big|blue|small|yellow|purple|brown|smooth|rough|broken|empty|beautiful|heavy|warm|cool|frozen|
    young|wide|narrow|long|shiny|dusty|rusty|pleasant|fresh|strange|huge|thick|thin|rich|poor|proud|quiet|loud|soft|
    sharp|cheap|valuable|famous|lovely|gloomy|merry|happy|bumpy|bitter|sour|sweet|strong|weak|royal|loyal|usual|
    healthy|muddy|foggy|perfect|public|private|simple|double|triple|marvellous|impossible|curious|wooden|orange""",
    "past": """found|bought|sold|moved|painted|opened|carried|wanted|brought|watched|measured|pushed|pulled|threw|
    caught|mixed|washed|wrapped|borrowed|missed|judged|shared|used|chose|drew|took|put away|picked up|looked at|
    talked about|remembered|forgot|described|photographed|broke|repaired|touched|admired|improved|imagined|dropped|
    swapped|polished|buried|covered|hid|hung up|collected|counted|compared""",
    "verb": """find|buy|sell|move|paint|open|carry|bring|watch|measure|push|pull|throw|catch|mix|wash|wrap|borrow|
    share|use|choose|draw|take|pick up|look at|talk about|remember|describe|repair|touch|improve|imagine|drop|polish|
    cover|hide|collect|count|compare|prove|approve of|hope for|pay for|think about|wait for|worry about""",
    "adverb": """slowly|quickly|carefully|probably|maybe|usually|always|never|hardly|barely|sometimes|often|quietly|
    happily|simply|roughly|warmly|finally|somehow|perhaps|really|beautifully|smoothly|thoroughly""",
    "food": """bread and butter|apple pie|mushroom soup|a bowl of porridge|fish and chips|roast beef|plum jam|
    peanut butter|chocolate pudding|a cup of tea|orange juice|warm milk|boiled eggs|pepper and salt|a piece of cheese|
    vegetable stew|strawberry yoghurt|honey|fresh tomatoes|ham and beans|popcorn|a ripe melon|rice with prawns""",
    "number": """one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|
    seventeen|eighteen|nineteen|twenty|thirty four|forty seven|fifty|sixty two|seventy five|eighty|ninety nine|
    a hundred|five hundred|a thousand|two million""",
    "feel": """happy|tired|angry|nervous|hopeful|bored|proud|sorry|afraid|amazed|thirsty|worried|ashamed|glad|lonely|
    surprised|hungry|comfortable|enthusiastic|jealous""",
    "weather": """rain|snow|fog|thunder|sunshine|wind|frost|hail|a storm|mist|a heat wave|a cold breeze""",
    "extra": """vision|azure|thither|genre|beige|prestige|leisure|casual|bathe|smooth|breathe|other|either|although|
    thousand|health|month|wealth|author|method|anything|jungle|angel|magic|engine|region|village|suggest|cheerful|
    picture|future|teacher|kitchen|champion|shelter|machine|ocean|issue|pressure|special|patient|motion|emotion|
    yawn|yellow|unique|beyond|onion|million|canyon|huge|human|humour|whole|behave|perhaps|hiccup|whisper|wicked|
    quick|queen|square|liquid|language|penguin|sandwich|bathroom|football|rainbow|cowboy|bamboo|baboon|bumblebee|
    pamphlet|empire|simple|temper|member|number|chamber|lumber|thimble|ramble|crumble|jumble|humble|apple|purple|
    people|pebble|bubble|rubble|noble|feeble|able|marble|problem|public|republic|broadband|bookcase|bookmark|pump|
    bump|lamp|camp|stamp|trumpet|shampoo|campaign|company|compass|computer|empty|attempt|prompt|bombard|mammal|
    maximum|museum|memory|moment|woman|women|bosom|rhythm|prism|poem|boom|bloom|broom|room|tomb|womb|comb|climb|
    roam|foam|home|dome|chrome|palm|calm|farm|storm|form|warm|swarm|worm|term|germ|firm|awe|raw|jaw|straw|claw|
    joy|enjoy|destroy|annoy|voyage|employ|join|poison|choice|void|moist|royal|loyal|soy|down|town|gown|brown|crowd|
    powder|shower|flower|tower|hour|house|south|mouth|louder|doubt|amount|wow|vow|allow|ago|below|window|echo|hero|
    zero|photo|piano|motto|auto|volcano|zoo|igloo|kangaroo|bamboo|canoe|fruit|suit|rude|rumour|ruin|fluid|druid""",
}
WORDS = {key: tuple(" ".join(item.split()) for item in value.split("|")) for key, value in _WORDS.items()}

TEMPLATES = tuple(
    line.strip()
    for line in """
    {person} {past} the {adjective} {noun} {place}.
    {person} {past} a {noun} and a {noun} {time}.
    {time}, {person} {past} {number} {adjective} {noun}s.
    {person} {adverb} {past} the {noun} {time}.
    Did {person} {verb} the {noun} {place}?
    Why would anybody {verb} a {adjective} {noun}?
    Please {verb} the {adjective} {noun} {time}.
    The {noun} was {adjective}, but the {noun} was {adjective}.
    I hope {person} will {verb} the {noun} {time}.
    We had {food} for breakfast, and {food} for supper.
    {person} felt {feel} when the {noun} fell {place}.
    If {person} can {verb} the {noun}, we may {verb} the {noun} too.
    There is {weather} {place}, so bring a {adjective} {noun}.
    How many {noun}s did you {verb} {place}?
    My {adjective} {noun} costs {number} dollars and {number} cents.
    You should {adverb} {verb} a {noun} before you {verb} a {noun}.
    What a {adjective} {noun}!
    {person} would rather {verb} the {noun} than {verb} the {noun}.
    Both the {noun} and the {noun} were {adjective} {time}.
    "Have you {past} my {noun}?" asked {person}.
    {person} put the {noun} {place} and {past} the {noun}.
    Nothing was more {adjective} than the {noun} {place}.
    Could you pass me {food}, please?
    {time} the {weather} stopped, and {person} {past} the {noun}.
    I am {feel} about the {noun}, yet {feel} about the {noun}.
    She said that {person} {past} her {adjective} {noun}.
    He thinks the {noun} {place} is too {adjective}.
    Let us {verb} the {noun}, {verb} the {noun}, and go home.
    {number} {noun}s and {number} {noun}s were left {place}.
    They {adverb} {verb} {food} {time}.
    Whoever {past} this {noun} must be very {feel}.
    The {adjective} {noun} belongs to {person}, not to {person}.
    Oh, I see: the {noun} is {place}.
    No, {person} never {past} that {noun}.
    Well, maybe we can {verb} {food} {time}.
    Thank you for the {adjective} {noun}, it made me {feel}.
    """.strip().splitlines()
)

FIXED = tuple(
    line.strip()
    for line in """
    My mama bought Bobby a pumpkin pie from the baker.
    Big brown bears pick plump purple plums by the pond.
    Maybe Abby may borrow my bumpy blue bumper.
    Pop the bubble before the puppy bumps the lamp.
    Mom made me jump up and bump my thumb.
    A simple example may prompt people to improve.
    The empty tomb was covered with moss and maple leaves.
    We were away a while, and the weather was awful.
    Who knew you would choose two blue shoes for school?
    The wolf would howl at the woman in the wood.
    Show me how the old road goes over the low bridge.
    You few who chew food should move to the cool room.
    Five of the very brave fellows have left for the village.
    Victor found a vivid violet leaf in the vault.
    Philip fixed the roof after a heavy frost.
    The oven gave off a faint flavour of coffee and fudge.
    These three brothers breathe through their mouths.
    I think that the thin thread is thicker than the other.
    She sells fresh shrimp and sheep's cheese in a shop.
    The judge changed the large orange badge of the major.
    His usual pleasure was to measure the treasure.
    He has seen these green trees each week this spring.
    She eats cheap beans and peas with sweet cream cheese.
    Fast cats ran past the black van and sat on a mat.
    Father calmly parked the car far from the palm trees.
    The tall author thought the law was all wrong.
    I might try to hide my fine white kite tonight.
    How now, the loud crowd found a brown cow down town.
    The boy enjoyed the noise of a toy made of foil.
    Her first nurse heard the early bird chirp.
    Look, the cook took a good book and put it in a bush.
    Young Yuri yelled that the yacht was beyond the yard.
    The quick king can quietly gather a good crew.
    Going along, we sang a strong song about the long spring.
    Little Lola will leave all the yellow lilies on the hill.
    Rarely are red roses really rarer than orange ones.
    Zack was amazed by the dozens of zebras at the zoo.
    Ten tiny turtles tried to dance the tango at dawn.
    Don't you dare to drop that dirty dish on the deck.
    Nine men in linen and one in cotton went down the lane.
    What time is it? It is about a quarter past five.
    Hello, this is the front desk. How may I help you?
    Good morning everybody, and welcome to our program.
    Hi there! It's been such a long time, hasn't it?
    No. Yes. Maybe. I don't know.
    Please wait a moment. Okay, go ahead.
    Oh my, what a pretty puppy you have.
    Let me be perfectly plain about this problem.
    Today we are going to talk about money, work and hope.
    Ladies and gentlemen, thank you very much for coming.
    I believe the people of this country want better jobs.
    We must build a bridge between the past and the future.
    First, whip the butter. Then, beat in both eggs.
    Above all, remember to breathe.
    It began to rain, and the umbrella would not open.
    Somebody left a bag of apples in front of my apartment.
    A cup of warm milk helps the baby to sleep.
    Our team won by a point in the final minute.
    Keep the map in your pocket and the lamp by the bed.
    Perhaps the problem is bigger than we supposed.
    """.strip().splitlines()
)

_COMMANDS = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)


def languages() -> tuple[str, ...]:
    """The languages that `sentence` can write in."""
    return ("en", *SENTENCES)


def sentence(rng: np.random.Generator, language: str = "en") -> str:
    """One sentence in a language of `languages()` (its regional forms too: en-gb, es-419).

    Raises KeyError for a language without sentences.
    """
    family = _family(language)
    if family != "en":
        choices = SENTENCES[family]
        return choices[rng.integers(len(choices))]
    kind = rng.random()
    if kind < 0.66:
        return fill(TEMPLATES[rng.integers(len(TEMPLATES))], rng)
    if kind < 0.80:
        return FIXED[rng.integers(len(FIXED))]
    if kind < 0.90:
        return word_list(rng)
    if kind < 0.96:
        return command(rng)
    return spelling(rng)


def fill(template: str, rng: np.random.Generator) -> str:
    """A template with every {slot} replaced by a random word of that list, and a capital letter first."""
    parts = []
    for index, piece in enumerate(template.replace("}", "{").split("{")):
        parts.append(piece if index % 2 == 0 else WORDS[piece][rng.integers(len(WORDS[piece]))])
    text = "".join(parts)
    return text[:1].upper() + text[1:]


def word_list(rng: np.random.Generator, words: int | None = None) -> str:
    """Words without grammar, `words` of them or 4 to 9: neighbourhoods of sounds that sentences rarely have."""
    pool = WORDS["extra"] + WORDS["noun"] + WORDS["adjective"]
    count = words or int(rng.integers(4, 10))
    chosen = [pool[rng.integers(len(pool))] for _ in range(count)]
    joined = " ".join(
        word + ("," if rng.random() < 0.25 and place < count - 1 else "") for place, word in enumerate(chosen)
    )
    return joined.capitalize() + "."


def command(rng: np.random.Generator) -> str:
    """Six words: verb, colour, preposition, letter, digit, adverb, as in command corpora filmed for lip reading."""
    return " ".join(choices[rng.integers(len(choices))] for choices in _COMMANDS) + "."


def spelling(rng: np.random.Generator) -> str:
    """Spelled letters or counted numbers."""
    if rng.random() < 0.5:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return " ".join(letters[rng.integers(26)].upper() for _ in range(int(rng.integers(4, 8)))) + "."
    return ", ".join(WORDS["number"][rng.integers(len(WORDS["number"]))] for _ in range(int(rng.integers(3, 7)))) + "."


def utterance(rng: np.random.Generator, language: str = "en", recorded: bool = False) -> list[str]:
    """One to three sentences that follow each other, 4 to 12 seconds of speech at a usual rate.

    recorded: for festival's voices of other languages, which also read words without grammar or meaning.
    """
    wanted = rng.uniform(45, 150)  # letters; about 13 are spoken in a second
    if language.lower().split("-")[0] in ("ko", "ja"):
        wanted /= 2.2
    sentences: list[str] = []
    while sum(map(len, sentences)) < wanted and len(sentences) < 4:
        sentences.append(_recorded_sentence(rng, language) if recorded else sentence(rng, language))
    return sentences


def _recorded_sentence(rng: np.random.Generator, language: str) -> str:
    choices = festival_sentences.SENTENCES.get(language) or SENTENCES[_family(language)]
    return festival_sentences.varied(rng, language, choices)


def _family(language: str) -> str:
    """The key of `SENTENCES` (or en) for a language tag: itself, or what stands before its first hyphen."""
    tag = language.lower()
    if tag in SENTENCES:
        return tag
    base = tag.split("-")[0]
    if base == "pt":
        return "pt-br"
    if base != "en" and base not in SENTENCES:
        raise KeyError(f"There are no sentences in {language!r}; known: {', '.join(languages())}.")
    return base
