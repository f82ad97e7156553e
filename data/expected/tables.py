"""Makes the expected files of the jobs over tables: python3 data/expected/tables.py

From the root of the repository; needs nothing but Python. Sums and equations are those
of `fractions.Fraction`, so every number is exact until it is rounded once. Shares
nothing with Vivat.
"""

import collections
import csv
import decimal
import math
import struct
from fractions import Fraction


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shown(number):
    if isinstance(number, int) or number is None:
        return "" if number is None else str(number)
    text = format(decimal.Decimal(repr(number)), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    assert number == 0 or 1e-7 <= abs(number) < 1e21, number
    return text


def write(name, table):
    with open(f"data/expected/{name}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(table)


def number(row, name):
    return float(row[name]) if row[name].strip() not in ("", "NA", "NaN", "null") else None


def divided(a, b):
    return None if a is None or b is None or b == 0 else a / b


def there(values):
    return [value for value in values if value is not None]


def total(values):
    return sum((Fraction(value) for value in there(values)), Fraction(0))


def mean(values):
    values = there(values)
    return float(total(values)) / len(values) if values else None


def weighted(pairs):
    pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
    weights = float(sum((Fraction(b) for _, b in pairs), Fraction(0)))
    if weights == 0:
        return None
    return float(sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))) / weights


def deviation(values):
    values = there(values)
    count = len(values)
    if count < 2:
        return None
    squares = sum((Fraction(value) ** 2 for value in values), Fraction(0))
    spread = float(count * squares - total(values) ** 2)
    return math.sqrt(spread / (float(count) * (count - 1)))


def median(values):
    values = there(values)
    found = sorted(values)[math.ceil(len(values) * 0.5) - 1]
    bits = struct.unpack("<Q", struct.pack("<d", found))[0] >> 43 << 43
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def grouped(games, *keys):
    groups = collections.defaultdict(list)
    for game in games:
        groups[tuple(game[key] for key in keys)].append(game)
    return groups


def player_averages(games):
    header = "PLAYER_NAME,games,teams,minutes,points,rebounds,assists,plus_minus"
    header += ",points_a_minute,rebounds_a_minute,assists_a_minute,fg,fg3,ft,effective_fg"
    header += ",true_shooting,points_mean,points_sd,points_median,best"
    yield header.split(",")
    for (name,), group in grouped(games, "PLAYER_NAME").items():
        of = lambda column: [number(game, column) for game in group]
        minutes, points, shots = of("MIN"), of("PTS"), of("FGA")

        def rate(above, below):
            return weighted((divided(a, b), b) for a, b in zip(above, below))

        def both(formula, *columns):
            pairs = zip(*map(of, columns))
            return [None if None in pair else formula(*pair) for pair in pairs]

        effective = both(lambda a, b: a + 0.5 * b, "FGM", "FG3M")
        attempts = both(lambda a, b: 2 * (a + 0.44 * b), "FGA", "FTA")
        sums = [float(total(of(c))) for c in ("MIN", "PTS", "REB", "AST", "PLUS_MINUS")]
        rates = [
            rate(points, minutes),
            rate(of("REB"), minutes),
            rate(of("AST"), minutes),
            rate(of("FGM"), shots),
            rate(of("FG3M"), of("FG3A")),
            rate(of("FTM"), of("FTA")),
            rate(effective, shots),
            rate(points, attempts),
        ]
        teams = "|".join(sorted({game["TEAM_ABBREVIATION"] for game in group}))
        rest = [mean(points), deviation(points), median(points), max(there(points))]
        yield [name, len(group), teams, *map(shown, sums + rates + rest)]


def team_positions(games):
    yield "TEAM_ABBREVIATION,POSITION,players,size,rank,points,made,steals,best".split(",")
    places = ["PG", "SG", "SF", "PF", "C"]
    for (team, position), group in grouped(games, "TEAM_ABBREVIATION", "POSITION").items():
        of = lambda column: [number(game, column) for game in group]
        shots = of("FGA")
        made = weighted((divided(a, b), b) for a, b in zip(of("FGM"), shots))
        players = len({game["PLAYER_NAME"] for game in group})
        rank = float(places.index(position))
        rest = [rank, float(total(of("PTS"))), made, mean(of("STL")), max(there(of("PTS")))]
        yield [team, position, players, position, *map(shown, rest)]


POSITIONS = ["C", "PF", "PG", "SF", "SG"]
NUMBERS = ["MIN", "FGA", "FTA", "threes", "WL"]


def features(game):
    outcome = {"L": 0.0, "W": 1.0}[game["WL"]]
    threes = divided(number(game, "FG3A"), number(game, "FGA"))
    return [*(number(game, name) for name in NUMBERS[:3]), threes, outcome]


def linear_regression(games):
    table, left_out = [], 0
    for game in games:
        row = [*features(game), *(float(game["POSITION"] == it) for it in POSITIONS[1:])]
        row = [1.0, *row, number(game, "PTS")]
        left_out += None in row
        table += [] if None in row else [list(map(Fraction, row))]
    columns = list(zip(*table))
    products = [[sum(a * b for a, b in zip(x, y)) for y in columns] for x in columns]
    size = len(columns) - 1
    left = [row[:] for row in products[:size]]
    for place in range(1, size):
        left[place][place] += Fraction(1, 2)
    for place in range(size):
        pivot = next(row for row in range(place, size) if left[row][place])
        left[place], left[pivot] = left[pivot], left[place]
        left[place] = [value / left[place][place] for value in left[place]]
        for row in range(size):
            if row != place:
                factor = left[row][place]
                left[row] = [a - factor * b for a, b in zip(left[row], left[place])]
    solution = [row[size] for row in left]
    count = len(table)
    numbers = [float(solution[0] * count) / count, *map(float, solution[1:])]
    signed = [-Fraction(it) for it in numbers] + [Fraction(1)]
    errors = sum(sum(a * b for a, b in zip(signed, row)) ** 2 for row in table)
    spread = count * products[size][size] - products[0][size] ** 2
    yield ["kind", "column", "text", "value"]
    yield ["target", "PTS", "", ""]
    yield ["intercept", "", "", shown(numbers[0])]
    for name, value in zip(NUMBERS, numbers[1:]):
        yield ["number", name, "", shown(value)]
    for name, value in zip(POSITIONS, [0, *numbers[1 + len(NUMBERS) :]]):
        yield ["category", "POSITION", name, shown(value)]
    for code, name in enumerate(["L", "W"]):
        yield ["code", "WL", name, str(code)]
    yield ["derived", "threes", "FG3A / FGA", ""]
    yield ["metric", "rows", "", str(count)]
    yield ["metric", "left-out", "", str(left_out)]
    yield ["metric", "r2", "", shown(1.0 - float(errors) / (float(spread) / count))]
    yield ["metric", "rmse", "", shown(math.sqrt(float(errors) / count))]


def linear_predict(games):
    model = rows("data/expected/linear-regression.csv")
    of = lambda kind: [row for row in model if row["kind"] == kind]
    (start,) = of("intercept")
    place = {row["text"]: float(row["value"]) for row in of("category")}
    yield ["PLAYER_NAME", "GAME_DATE", "PTS", "prediction"]
    for game in games:
        total, values = float(start["value"]), features(game)
        for row, value in zip(of("number"), values):
            if value is not None:
                total += float(row["value"]) * value
        total += place[game["POSITION"]]
        prediction = "" if None in values else shown(total)
        yield [game["PLAYER_NAME"], game["GAME_DATE"], game["PTS"], prediction]


def join_csv(games):
    teams = rows("data/input/teams.csv")
    others = [name for name in games[0] if name != "TEAM_ABBREVIATION"]
    more = [name for name in teams[0] if name != "ABBREVIATION"]
    yield ["TEAM_ABBREVIATION", *others, *more]
    for game in games:
        key = game["TEAM_ABBREVIATION"]
        found = [team for team in teams if team["ABBREVIATION"] == key]
        for team in found or [dict.fromkeys(more, "?")]:
            yield [key, *(game[name] for name in others), *(team[name] for name in more)]


def main():
    games = rows("data/input/game-logs.csv")
    write("player-averages", player_averages(games))
    write("team-positions", team_positions(games))
    write("linear-regression", linear_regression(games))
    write("linear-predict", linear_predict(games))
    write("join-csv", join_csv(games))


if __name__ == "__main__":
    main()
