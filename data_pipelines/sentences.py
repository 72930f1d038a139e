"""Sentences to be spoken: a small grammar makes as many as are asked for, with most sounds of the language in them.

They are for learning how letters sound, not for what they mean.
"""

import functools
import re
from collections.abc import Iterator

import numpy as np

from lin_jax.errors import CorpusError

# Each part is a name in braces; "/" stands between choices. What is chosen may hold names again.
ENGLISH = {
    "sentence": """
{the} {thing} {was} {quality} {when}. / {the} {person} {did} {the} {thing} {where}.
/ {Name} {did} {the} {thing}, and {pronoun} {went} {where}. / {when}, {the} {person} {went} {where}.
/ {aux} {the} {person} {do} {the} {thing} {where}? / {question} did {Name} {do} {the} {thing}?
/ {do} {the} {quality} {thing} {where}, please. / {the} {person} {went} {how} {where} {when}.
/ {there} {number} {things} {where}. / {pronoun} {said} that {the} {thing} {was} {quality}.
/ {if} {the} {person} {does} {the} {thing}, {Name} will {do} {the} {other}.
/ {Name} and {Name} {did} {number} {things} {when}.
/ {the} {quality} {person} {said} nothing about {the} {thing}. / {nobody} {did} {the} {other} {how}.
/ {what} a {quality} {thing}! / {yes}, {Name} {said}, {the} {thing} {was} {where}.
/ {the} {thing} cost {number} {coins}, but {the} {other} {was} {quality}. / It {was} {number} {units} {where}.
""",
    "the": "the / the / the / this / that / my / your / our / their / her / his / a / another / each / every",
    "thing": """
kettle / garden / letter / window / bridge / guitar / oven / measure / yacht / engine / feather / jewel / mirror
/ basket / shadow / blanket / orange / cheese / village / ship / photograph / question / cloud / horse / piano
/ ladder / candle / journey / pencil / rope / machine / television / vase / leaf / thumb / wheel / choir
/ church / judge / boat / coin / towel / oyster / royal crown / house / mouth / fire / tower / chair / beard
/ tour / picture / nature film / joke / bag / book / foot / moon / ruler / bird / nurse / tooth / bath
/ leather coat / zebra / puzzle / treasure map / knife / sign / ring / song / finger / youth club / cube / view
/ onion / quiz / box / axe / glass / plum tree / spring / street / scarf / sphere / square / whistle / hammer
/ computer / paper / winter dream / dinner / lemon / melon / apple / egg / office / old map / island / airport
/ ear / hour / idea
""",
    "other": """
clock / door / radio / bottle / carpet / dish / vegetable soup / lake / lamp / sugar / magazine / van / wall
/ thread / bell / fence
""",
    "things": """
dogs / cats / boxes / horses / leaves / feathers / bridges / churches / apples / watches / roses / ships / cups
/ clouds / matches / children / books / maps / garages / months / clothes / wolves / oars / ears / toys / coins
/ voices / pages / judges / tales / queens / knights / thieves / kings
""",
    "person": """
teacher / farmer / doctor / neighbour / sailor / girl / boy / mother / father / brother / nurse / captain
/ stranger / musician / judge / child / uncle / young woman / old man / student / baker / writer / painter
/ driver / visitor / guide / friend / cook / pilot / thief / witch / giant / aunt / engineer
""",
    "Name": """
George / Mary / Theo / Joyce / Ahmed / Chen / Zoe / Hugh / Vera / Oliver / Ruth / Jack / Sasha / Eve / Otto
/ Shirley / Yuri / Nathan / Luis / Faith
""",
    "pronoun": "he / she / they / we / I / you / everyone / somebody",
    "nobody": "nobody / no one / everybody / somebody",
    "there": "there were / here are / we counted / I saw / she bought / they need / bring",
    "aux": "did / will / can / could / should / would / must",
    "if": "if / when / before / unless / until",
    "question": "where / when / why / how",
    "what": "what / such",
    "yes": "yes / no / well / of course / perhaps / thank you / good morning / oh",
    "do": """
bring / open / watch / choose / throw / move / fix / change / push / judge / carry / leave / sell / wash / join
/ avoid / use / paint / share / hear / find / draw / keep / cook / lose / enjoy / pull / raise / touch / break
/ examine / remember / describe / sing / measure / thank / breathe on
""",
    "does": """
brings / opens / watches / chooses / throws / moves / fixes / changes / pushes / carries / leaves / sells
/ washes / joins / uses / shares / hears
""",
    "did": """
brought / opened / watched / chose / threw / moved / fixed / changed / pushed / judged / carried / left / sold
/ washed / joined / avoided / used / painted / shared / heard / found / drew / kept / cooked / lost / enjoyed
/ pulled / raised / touched / broke / examined / remembered / described / sang about / measured / thanked
/ caught / taught / bought / saw / knew / wrote / felt / held / hid / built / fed / liked / feared / chased
/ solved
""",
    "went": """
went / walked / ran / travelled / drove / rode / slept / waited / laughed / sang / danced / worked / played
/ stood / sat / lived / stayed / jumped / marched / whispered / shouted / coughed / fell / flew / swam
/ returned / arrived / rested / listened / looked around / breathed / moved / yawned
""",
    "said": """
said / thought / knew / wrote / believed / heard / remembered / agreed / noticed / shouted / explained
/ announced
""",
    "was": "was / is / will be / has been / seemed / became / looked / used to be / should be / could have been",
    "quality": """
red / yellow / green / blue / purple / grey / huge / tiny / heavy / quiet / loud / rich / cheap / young
/ ancient / beautiful / strange / gentle / sharp / smooth / rough / fresh / bitter / sweet / sour / thick / thin
/ wise / foolish / brave / lazy / famous / curious / usual / warm / cold / cool / dry / wet / clean / dirty
/ dangerous / safe / simple / perfect / broken / empty / full / dark / bright / golden / wooden / northern
/ southern / rare / pure / fair / weird / poor / small / large / wide / narrow / long / short / square / round
/ hollow / giant / unusual / average / cautious / royal
""",
    "how": """
slowly / quickly / quietly / carefully / happily / together / alone / twice / again / for an hour
/ without a word / at once / by chance / in vain / with pleasure / with both hands / in silence / as usual
/ very well / rather badly / all day / through the night / far too often / just in time
""",
    "where": """
in the kitchen / by the river / under the stairs / on the hill / behind the church / near the station
/ at the market / in the forest / along the road / across the bridge / beside the fire / through the valley
/ above the clouds / around the corner / between the houses / at school / in the library / on the beach
/ over the roof / to the north / towards the village / from the south / into the cave / out of the harbour
/ upstairs / outside / abroad / at the edge of the field / in the middle of the square / on the third floor
/ beneath the oak / opposite the theatre / in a foreign city / at home
""",
    "when": """
yesterday / today / tomorrow / on Monday / on Tuesday / on Wednesday / on Thursday / on Friday / on Saturday
/ on Sunday / in January / in March / in June / in August / in October / in winter / in spring / last year
/ next week / at noon / at midnight / before breakfast / after the storm / during the war / a few days ago
/ long ago / every evening / in the afternoon / at five past nine / since childhood / for the first time
/ too late
""",
    "number": """
two / three / four / five / six / seven / eight / nine / ten / eleven / twelve / thirteen / fourteen / fifteen
/ sixteen / eighteen / nineteen / twenty / thirty / forty / fifty / sixty / seventy / eighty / ninety
/ a hundred / a thousand / twenty one / thirty three / forty seven / fifty six
""",
    "units": "degrees / miles / minutes / hours / inches / pounds / metres / weeks / years / steps",
    "coins": "dollars / euros / pounds / francs / roubles / pence / cents",
}

RUSSIAN = {
    "sentence": """
{person} {did} {thing} {where}. / {when} {person} {did} {thing}. / {where} {lay} {quality} {subject}.
/ {who} {did} {thing} {when}? / {quality} {subject} {lay} {where} {when}.
/ {Name} {how} {did} {thing}, а {Name} {did} {thing}. / {person} {said}, что {subject} {lay} {where}.
/ {please} {thing}, пожалуйста! / {Name}, {do} {thing} {where}. / Какой {quality} {subject}!
/ {when} {where} лежало {number} {things}. / {if} {Name} {how} {did} {thing}, {person} {did} бы чай.
/ Почему {Name} не {did} {thing} {where}? / {person} {did} {number} {things}.
""",
    "person": """
учитель / доктор / сосед / моряк / мальчик / отец / брат / художник / шофёр / пекарь / юноша / судья / царь
/ этот человек / щенок
""",
    "Name": """
Иван / Пётр / Юрий / Фёдор / Эдуард / Яков / Глеб / Илья / Хасан / Женя / Саша / Вячеслав / Игорь / Цезарь
/ Лёша
""",
    "who": "кто / зачем он / неужели он / разве Юрий / где он / как он",
    "please": """
принесите / откройте / покажите / возьмите / бросьте / найдите / выньте / объясните / съешьте / нарисуйте
""",
    "do": "принеси / открой / покажи / возьми / брось / найди / вынь / объясни / съешь / нарисуй",
    "did": """
принёс / открыл / увидел / нашёл / купил / бросил / починил / нарисовал / забыл / вымыл / услышал / потерял
/ построил / объяснил / съел / изучил / поймал / выбрал / сжёг / вернул / спрятал / защищал / любил / чувствовал
/ разбил / выпил / обнял / унёс / взял / ждал
""",
    "said": "сказал / подумал / знал / написал / услышал / вспомнил / объявил / прошептал / объяснил / заметил",
    "thing": """
чайник / письмо / окно / мост / гитару / зеркало / корзину / одеяло / апельсин / сыр / деревню / корабль
/ вопрос / облако / лошадь / свечу / карандаш / машину / лист / колесо / лодку / монету / дом / башню / стул
/ картину / шутку / книгу / луну / птицу / зуб / пальто / нож / знак / кольцо / песню / яйцо / ключ / щуку
/ ящик / шляпу / цветок / юбку / якорь / эхо / хлеб / фонарь / ёлку / жемчуг / рыбу / галстук / вьюгу
/ объявление / подъезд
""",
    "things": """
яблок / книг / лодок / ключей / стульев / свечей / щенков / цветов / лошадей / рыб / ящиков / часов / песен
/ якорей / писем / ёлок
""",
    "subject": """
стол / дом / нож / ключ / сад / корабль / чайник / фонарь / цветок / ящик / хлеб / щит / якорь / лист / зонт
/ мяч / плащ / жук / конь
""",
    "lay": "лежал / стоял / был / исчез / остался / появился / ждал нас / казался чужим / хранился",
    "quality": """
старый / новый / жёлтый / синий / зелёный / чёрный / тяжёлый / лёгкий / хороший / большой / широкий / тёплый
/ пустой / общий / яркий
""",
    "how": """
медленно / быстро / тихо / осторожно / вместе с другом / снова / случайно / напрасно / с удовольствием / молча
/ ещё раз / дважды
""",
    "where": """
на кухне / у реки / под лестницей / на холме / за церковью / возле станции / на рынке / в лесу / вдоль дороги
/ у моря / в пещере / за углом / в школе / на площади / в чужом городе / на третьем этаже / перед театром
/ среди камней / в библиотеке / между домами / над озером / в цирке / на юге
""",
    "when": """
вчера / утром / ночью / в среду / в четверг / в пятницу / зимой / весной / однажды / после дождя / в июле
/ давным-давно / перед ужином
""",
    "if": "если бы / когда бы",
    "number": """
пять / шесть / семь / восемь / девять / десять / одиннадцать / двенадцать / пятнадцать / двадцать / тридцать
/ сорок / сто / тысяча
""",
}

GRAMMARS = {"en": ENGLISH, "ru": RUSSIAN}


def make(language: str = "en", seed: int = 0) -> Iterator[str]:
    """Sentences without end, no two alike, the same ones for the same arguments.

    Args:
        language: one of the `GRAMMARS`.
        seed: of the choices.

    Raises:
        CorpusError: there is no grammar of the language.
    """
    if language not in GRAMMARS:
        raise CorpusError(
            f"no sentences in {language!r} are made here: choose {' or '.join(GRAMMARS)}, or give a file"
        )
    rng, made = np.random.default_rng(seed), set()
    while True:
        sentence = _expand("{sentence}", language, rng)
        sentence = sentence[0].upper() + sentence[1:]
        if sentence not in made:
            made.add(sentence)
            yield sentence


def _expand(text: str, language: str, rng: np.random.Generator) -> str:
    """A text with each name in braces replaced by one of its choices."""
    text = re.sub(
        r"\{(\w+)\}", lambda match: _expand(_chosen(match[1], language, rng), language, rng), text
    )
    return (
        re.sub(r"\b(a) (?=[aeiou])(?!one|use|eu|usual)", r"\1n ", text)
        if language == "en"
        else text
    )


def _chosen(name: str, language: str, rng: np.random.Generator) -> str:
    choices = _choices(name, language)
    return choices[rng.integers(len(choices))]


@functools.cache
def _choices(name: str, language: str) -> tuple[str, ...]:
    return tuple(choice.strip() for choice in GRAMMARS[language][name].split("/"))
