"""Everyday sentences, written for Mien, for festival's Czech, Finnish, Marathi and Telugu voices, and made-up words."""

import numpy as np

SENTENCES: dict[str, tuple[str, ...]] = {
    "cs": (
        "Dobrý den, jak se dnes máte?",
        "Příští týden pojedeme s dětmi na hory.",
        "Babička peče bábovku a maminka vaří polévku.",
        "Můj bratr bydlí v malém městě blízko řeky.",
        "Prosím vás, kde je tady nejbližší lékárna?",
        "Včera celý den pršelo a foukal silný vítr.",
        "Ten žlutý pes štěká na každého souseda.",
        "Zítra ráno vstávám v pět hodin a třicet minut.",
        "Mám rád čerstvý chléb s máslem a medem.",
        "Vlak do Prahy má bohužel půl hodiny zpoždění.",
        "Na stole leží modrá kniha a bílý papír.",
        "Petr přinesl Pavlovi pěkný barevný balón.",
        "Ve škole jsme se učili o dějinách Evropy.",
        "Můžete mi prosím podat sůl a pepř?",
        "Děti si hrají na zahradě pod velkým ořechem.",
        "Nevím, jestli budu mít čas, ale zkusím to.",
        "V zimě bývá v horách hodně sněhu a mlhy.",
        "Jablka, hrušky a švestky jsou letos levné.",
        "Kdo chce kam, pomozme mu tam.",
        "Ďábel a anděl šli spolu do kina na komedii.",
        "Šťastnou cestu a brzy zase přijďte.",
        "Houby rostou v lese po teplém dešti.",
    ),
    "fi": (
        "Hyvää huomenta, kuinka sinä voit tänään?",
        "Äiti osti torilta mansikoita ja uusia perunoita.",
        "Huomenna menemme junalla mummon luokse.",
        "Pieni poika potkaisee palloa pihalla.",
        "Onko sinulla aikaa juoda kuppi kahvia?",
        "Talvella järven jää on paksu ja valkoinen.",
        "Musta kissa nukkuu lämpimän uunin päällä.",
        "Hän työskentelee yöllä suuressa sairaalassa.",
        "Minun ystäväni soittaa pianoa ja laulaa kauniisti.",
        "Bussi pysähtyy aivan kirjaston edessä.",
        "Metsästä löytyy sieniä, mustikoita ja puolukoita.",
        "Voisitko avata ikkunan, täällä on kuuma.",
        "Isä rakensi meille puisen veneen.",
        "Kello on puoli kuusi ja ulkona sataa vettä.",
        "Hyppää yli ojan, mutta älä putoa.",
        "Keltainen lintu lentää sinisen talon yli.",
        "Syödään ensin keittoa ja sitten pullaa.",
        "Mitä tämä vihreä villapaita maksaa?",
        "Kiitos paljon, näkemiin ja hyvää matkaa.",
        "Lapset löysivät rannalta pyöreän kiven.",
        "Kesällä aurinko paistaa myös keskiyöllä.",
        "Uusi ammatti vaatii monta vuotta opiskelua.",
    ),
    "mr": (
        "नमस्कार, तुम्ही कसे आहात?",
        "माझी आई रोज सकाळी बाजारात जाते.",
        "मुले बागेत खेळत आहेत.",
        "बाबांनी मला नवीन पुस्तक दिले.",
        "आज खूप पाऊस पडत आहे.",
        "मला गरम चहा आणि पोहे आवडतात.",
        "पुणे शहर मुंबईपासून दूर नाही.",
        "तुमचे नाव काय आहे?",
        "उद्या आम्ही गावाला जाणार आहोत.",
        "पिवळे फूल फार सुंदर दिसते.",
        "भाऊ आणि बहीण शाळेत जातात.",
        "कृपया दार बंद करा.",
        "माझा मित्र गाणे गातो.",
        "आंबे किती रुपयांना दिले?",
        "नदीचे पाणी थंड होते.",
        "पोपट उंच झाडावर बसला.",
        "मी काल बाबांबरोबर सिनेमा पाहिला.",
        "पाच मोठे बैल शेतात काम करतात.",
    ),
    "te": (
        "నమస్కారం, మీరు ఎలా ఉన్నారు?",
        "మా అమ్మ రోజు ఉదయం పూజ చేస్తుంది.",
        "పిల్లలు బడికి నడిచి పోయారు.",
        "నాకు మామిడి పండు చాలా ఇష్టం.",
        "ఈ రోజు వాన బాగా పడింది.",
        "మీ పేరు ఏమిటి?",
        "నాన్న పొలంలో పని చేస్తున్నాడు.",
        "రేపు మేము బస్సులో ఊరికి పోతాము.",
        "తెల్ల ఆవు పాలు ఇస్తుంది.",
        "దయచేసి తలుపు మూయండి.",
        "పాప పుస్తకం చదువుతోంది.",
        "బాబు బొమ్మతో ఆడుతున్నాడు.",
        "ఈ పువ్వు చాలా అందంగా ఉంది.",
        "కాఫీ తాగుతారా, మజ్జిగ తాగుతారా?",
        "అబ్బాయి పాట బాగా పాడాడు.",
        "గుడి ముందు పెద్ద చెరువు ఉంది.",
        "మామయ్య బంగారు ఉంగరం కొన్నాడు.",
        "సాయంత్రం గాలి చల్లగా వీచింది.",
    ),
}

# Onsets, vowels and codas in each language's own spelling; "." is nothing.
_SYLLABLES = {
    "cs": (
        "b p m v f d t n l r s z š ž č c k h ch j g ř ď ť ň b p m bl pr st sp tr vl zm pl br mn sv kř . .",
        "a e i o u y á é í ů ou a e o u",
        ". . . . . m n s r l p k t š v j b",
    ),
    "it": (
        "b p m v f d t n l r s z c sc ch gh gn p b m pr br tr st sp fr pl cl gr str qu sf bb mm pp . .",
        "a e i o u a e i o u ia io ai au",
        ". . . . . . n r l m s",
    ),
    "fi": (
        "b p m v f d t n l r s k h j g p m v p m s t . .",
        "a e i o u y ä ö aa ee ii oo uu yy ää öö uo yö ie ai ei oi au ou äy öy",
        ". . . . . n s l r t m mp nk pp tt kk mm ss ll",
    ),
}


def made_up(rng: np.random.Generator, language: str) -> str:
    """Words without meaning, three to eight: neighbourhoods of sounds that the sentences lack.

    Built of syllables in Czech, Italian and Finnish; KeyError for others.
    """
    parts = [["" if item == "." else item for item in row.split()] for row in _SYLLABLES[language]]
    words = []
    for _ in range(int(rng.integers(3, 9))):
        count = int(rng.integers(1, 4)) + 1
        words.append("".join(str(rng.choice(row)) for _ in range(count) for row in parts))
    return " ".join(words).capitalize() + "."


def shuffled(rng: np.random.Generator, sentences: tuple[str, ...]) -> str:
    """Four to nine words drawn from all sentences of a language."""
    words = [word.strip(".,!?।:;") for text in sentences for word in text.split()]
    return " ".join(str(rng.choice(words)) for _ in range(int(rng.integers(4, 10)))) + "."


def varied(rng: np.random.Generator, language: str, sentences: tuple[str, ...]) -> str:
    """A sentence, or one time in three words in no order, or, where syllables are known, made-up words."""
    kind = rng.random()
    if kind < 0.34:
        return shuffled(rng, sentences)
    if kind < 0.55 and language in _SYLLABLES:
        return made_up(rng, language)
    return sentences[rng.integers(len(sentences))]
