"""The registrations of one service, judged and read in one go."""

from selvage.formats import registrations
from selvage.formats.registrations import Rules, judge

BARE = Rules(None, None)


def read(children, rules, addresses=registrations.NOTHING):
    return registrations.read(dict(judge(children)), rules, addresses)


def hosts(children, rules=BARE):
    return registrations.hosts(dict(judge(children)), rules)
