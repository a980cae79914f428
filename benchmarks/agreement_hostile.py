"""Hostile texts for the agreement of dialects: degenerate ones, and some around every threshold."""

import random
from collections.abc import Iterator

MARK = "hostile"  # how their identities begin

Named = Iterator[tuple[str, str]]

SPACES = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
NASTY = (
    "'\"`‘’“”«»„‚‹›「」『』（）【】《》〈〉〔〕(){}[]<>.,;:!?¿¡…·。、！？，：；～。।॥؟،؛۔٪"
    "-–—_~^*+=/\\|&%#@$£€¥₽₹¢§°©®™²³µ¬¦•▪●→✓☺😀🎉👩‍👩‍👧🇩🇪\u200b\u200d\ufeff\u00ad\ufffd\u0301\u0308\x00\x01\x7f\x80"
)
MIXED = NASTY + "abcABC019" * 12
WORDS = """
the be to of and that have with a I in is it for not on as you do at this but his by from they
don't I'm can't it's we'll they've o'clock U.S. a.m. 10km 3.14 $5 e.g. i.e. Mr. Dr. C++ e-mail
well-known and/or 10% 20°C. https://example.com/a?b=c x@y.org www.test.de v2.0 1,000 2024-01-31
a.b A.B Hello,world foo/bar foo:bar 5+3 x=y <b> :) :-( <3 ... … -- — 'tis 'cause gonna cannot
Hell hell ill its wasnt y'all 10am 11p.m. №5 naïve Straße Übung été слово Привет мир 你好 世界
日本語テスト ภาษาไทย हिन्दी العربية עברית 한국어 ქართული Ελληνικά አማርኛ
""".split()  # noqa: SIM905  # a list of them would be one word a line


def words(count: int, word: str = "word") -> str:
    """So many different words, the first letters of which are those of `word`."""
    return " ".join(f"{word}{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}" for n in range(count))


def degenerate() -> Named:
    """Texts with next to nothing in them, or with too much of one thing."""
    one = ["a", "A", "1", ".", "#", "-", "•", "…", "{", "[", "\x00", "é", "中", "😀", "\u0301", ""]
    few = ["  ", "\n\n", "\r\n", "...", "....", ". . .", "''", "'s", "IS_ALPHA"]
    for text in (*one, *SPACES, *few):
        yield f"bare/{text!a}", text
        yield f"bare-60/{text!a}", text * 60
        yield f"bare-60-spaced/{text!a}", f"{text} " * 60
        yield f"bare-60-lines/{text!a}", f"{text}\n" * 60
        yield f"in-words/{text!a}", f"{words(60)}{text}{words(60, 'next')}"
    for text in ("中文字符没有空格", "あいうえおかき", "ไทยไม่มีช่องว่าง", "한국어입니다"):
        yield f"unspaced/{text[:3]}", text * 200
        yield f"unspaced-stops/{text[:3]}", (text + "。") * 200
    for size in (62, 63, 64, 65, 999, 1000, 1001, 1002, 20_000, 60_000):
        yield f"giant/{size}", "x" * size
        yield f"giant-in-words/{size}", f"{words(80)}.\n{'x' * size} and more words.\n{words(80)}."
        yield f"giant-dots/{size}", "a." * (size // 2)
        yield f"giant-hyphens/{size}", "a-" * (size // 2)
        # spaCy takes 30 s for 10,000 quotes, and four times that for twice as many.
        yield f"giant-quotes/{min(size, 5000)}", '"' * min(size, 5000)
    yield "punctuation", "!?.,;:-_()[]{}<>\"'*&%$#@/\\|~^+=` " * 80
    yield "punctuation-lines", "!?.,;:-_()\n[]{}<>\"'\n*&%$#@/\\|\n~^+=`\n" * 80


def breaks() -> Named:
    """Every kind of white space between lines, blank lines, paragraphs and words."""
    mixed = "\r\n", "\n\r", "\n\n", "\n\n\n", " \n ", "\r\n\r\n", "\n \n", "\u2028\n"
    for space in (*SPACES, *mixed):
        lines = [f"- The line number {n} has that and this, with all." for n in range(12)]
        yield f"break/{space!a}", space.join(lines)
        yield f"break-ends/{space!a}", space + (space * 2).join(lines) + space
        yield f"break-words/{space!a}", space.join(words(120).split())
        yield f"break-bullets/{space!a}", f"{space}- ".join(words(60).split()) + "..."


def sizes() -> Named:
    """Texts and words as long as Gopher's bounds, one shorter and one longer."""
    for count in (1, 2, 3, 49, 50, 51, 99_999, 100_000, 100_001):
        yield f"words/{count}", f"{words(count)} "
        yield f"words-stops/{count}", "the and " + words(count - 2 if count > 2 else 0)
    for letters in range(145, 156):  # 50 words of 3 characters, give or take
        yield f"short-words/{letters}", f"{'the ' * 48}{'x' * (letters - 143)} be"
    for letters in range(490, 511):  # 50 words of 10
        yield f"long-words/{letters}", f"to and {'yyyyyyyyyy ' * 47}{'z' * (letters - 475)}"


def shares() -> Named:
    """Signs, numbers and stop words at shares around Gopher's bounds."""
    for count in range(4, 14):
        for sign in ("#", "...", "…", " # ", " … ", " ... "):
            yield f"signs/{count}/{sign}", f"the {words(97)} and " + sign * count
            yield f"signs-joined/{count}/{sign}", f"the and{sign} " * count + words(100)
    for plain in range(70, 90):
        yield f"letters/{plain}", f"the and {words(plain - 2)} " + "12345 " * (100 - plain)
    for stops in range(4):
        yield f"stop-words/{stops}", " ".join(["the", "be", "to"][:stops]) + " " + words(80)
        yield f"stop-words-case/{stops}", " ".join(["The", "BE", "to"][:stops]) + " " + words(80)


def line_shares() -> Named:
    """Bullets and ellipses in so many of 20 lines."""
    for count in range(21):
        for bullet in ("- ", "• ", " -", "\t•", "* "):
            lines = [f"{bullet if n < count else ''}the word {n} and so" for n in range(20)]
            yield f"bullets/{count}/{bullet}", "\n".join(lines)
        for end in ("...", "…", "... ", "….", ". . ."):
            lines = [f"the word {n} and so{end if n < count else '.'}" for n in range(20)]
            yield f"ellipses/{count}/{end}", "\n".join(lines)


def copies() -> Named:
    """Lines and paragraphs that occur twice, at shares around every bound."""
    for count in range(1, 14):
        for gap in ("\n", "\n\n", "\n\n\n", "\r\n"):
            own = [f"This is the sentence {n} of these, and that." for n in range(20 - count)]
            twice = ["A line that is here twice, to be sure."] * count
            spaced = [*own, *(line + " " for line in twice)]
            yield f"copies/{count}/{gap!a}", gap.join(own + twice)
            yield f"copies-short/{count}/{gap!a}", gap.join(own + ["x"] * count)
            yield f"copies-spaced/{count}/{gap!a}", gap.join(spaced)


def phrases() -> Named:
    """N-grams that occur twice, at shares around every bound, and some that only look alike."""
    for size in range(1, 13):
        for count in range(1, 9):
            phrase = words(size, "same")
            parts = [f"{words(14, f'own{chr(97 + n)}')} {phrase}" for n in range(count)]
            split = [
                part.replace("samea", "same a") if n % 2 else part for n, part in enumerate(parts)
            ]
            yield f"phrase/{size}/{count}", " ".join(parts)
            yield f"phrase-split/{size}/{count}", " ".join(split)
            yield f"phrase-joined/{size}/{count}", f"{phrase} " * count + words(40 * size)
    for shape in ("ab c a bc ", "a b a b ", "aa a aa ", "a a ", "a, b. ", "x y z "):
        for count in (1, 2, 3, 5, 6, 10, 11, 30, 31, 200):
            yield f"shape/{shape}/{count}", shape * count


def fineweb() -> Named:
    """Lines around FineWeb's bounds."""
    for ended in range(26):
        lines = [f"the line {n} and that one{'.' if n < ended else ''}" for n in range(100)]
        yield f"ended/{ended}", "\n".join(lines)
        yield f"ended-spaced/{ended}", " \n".join(lines)
    for short in range(55, 80):
        for size in (29, 30, 31):
            lines = [f"{n:03}" + "x" * (size - 4) + "." for n in range(short)]
            long = [f"{n:03} is a line of more than thirty characters." for n in range(100 - short)]
            yield f"short/{short}/{size}", "\n".join(lines + long)
    for size in range(1, 40, 2):
        others = [f"{n:04} is another line of forty characters.." for n in range(40)]
        yield f"doubled/{size}", "\n".join(["d" * size, *others, "d" * size])
    for newlines in range(20, 45):
        yield f"newlines/{newlines}", words(100) + "." + "\n" * newlines
        lines_of_one = words(newlines).replace(" ", "\n")
        yield f"newlines-words/{newlines}", f"{lines_of_one} {words(70)}."


ODD = (
    *("{", "lorem ipsum", "Lorem Ipsum", "LOREM IPSUM.", "javascript", "JavaScript on."),
    *("use cookies.", "Terms Of Use.", "PRIVACY POLICY.", "cookie policy", "uses cookies!"),
    *("use of cookies?", "İavascript", "lorem ıpsum", "uſe cookies.", "use coo\u212aies.", "[12]"),
    *("[]", "[edit]", "[citation needed]", "[١٢]", "[Edit]", "ends...", "ends…", 'ends "', ""),
    *("ends '", "ends.”", "ends。", "two words.", "one.", "x" * 1001 + " and more.", "ends. "),
    *("\ufeffends it is.", "x" * 1000 + " and more.", "ends.\u3000", "terms  of use."),
)
STOPS = ("!", "?!", "...", '."', ". . .", ".)", "。", "।", "؟", ".'", ". —", "..", "?)", ".[1]")
ABBREVIATIONS = ("Mr.", "U.S.", "e.g.", "a.m.", "3.5", "A.", "www.x.org.", "No. 5", "p.m. He")


def c4() -> Named:
    """Lines around C4's rules, and sentences that end in many ways."""
    good = "This is a good line that ends well."
    for number, odd in enumerate(ODD):
        lines = [good, good, good, odd, f"Here is {odd} in a line.", f"It is {odd}", good, good]
        yield f"c4/{number}", "\n".join(lines)
        yield f"c4-alone/{number}", odd
    for count in range(1, 8):
        lines = [f"Sentence number {n} is here." for n in range(count)]
        yield f"sentences/{count}", " ".join(lines)
        yield f"sentence-lines/{count}", "\n".join(lines)
        for stop in STOPS:
            yield (
                f"stops/{count}/{stop}",
                f"This is one{stop} And another{stop} " * count + "It ends.",
            )
    for abbreviation in ABBREVIATIONS:
        yield f"abbreviation/{abbreviation}", f"He saw {abbreviation} there and left. " * 4


def noise(count: int = 400) -> Named:
    """Random mixtures of words, signs and white space of all kinds, from a fixed seed."""
    dice = random.Random(3)
    for number in range(count):
        pieces = []
        for _ in range(dice.randint(1, 300)):
            kind = dice.random()
            if kind < 0.6:
                pieces.append(dice.choice(WORDS))
            elif kind < 0.8:
                pieces.append("".join(dice.choices(NASTY, k=dice.randint(1, 4))))
            else:
                pieces.append("".join(dice.choices(MIXED, k=dice.randint(1, 12))))
            pieces.append(dice.choice(("", " ", " ", " ", "\n", dice.choice(SPACES))))
        yield f"noise/{number}", "".join(pieces)


PARTS = (degenerate, breaks, sizes, shares, line_shares, copies, phrases, fineweb, c4, noise)


def texts() -> Named:
    """All of them, each under a name of its own."""
    seen: set[str] = set()
    for part in PARTS:
        for name, text in part():
            if name not in seen:
                seen.add(name)
                yield name, text
