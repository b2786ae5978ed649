"""Short lists of words that values are composed of; knows no values.

The HELD_OUT and VALIDATION lists serve measuring alone.
"""

_WORDS = """
sun moon river stone cloud forest tiger falcon panda coffee pixel rocket garden winter summer silver
golden purple dragon wizard shadow thunder maple cedar harbor bridge castle planet comet orbit
quartz copper velvet breeze meadow canyon island lantern puzzle marble pepper ginger walnut cherry
monkey turtle rabbit spider eagle dolphin penguin cobra lucky happy crazy clever quiet brave swift
"""
_HELD_OUT_WORDS = """
anchor beacon cactus domino ember fossil glacier hazel indigo jasmine kettle lagoon mango nectar
opal parrot quiver raven saddle tulip umbra violet willow yonder zephyr bamboo cricket otter
"""
_VALIDATION_WORDS = """
acorn badger bonfire candle cobalt drizzle feather gravel hammock icicle juniper kayak lobster
magnet nutmeg oyster pebble pumpkin quill ribbon sparrow teapot tundra velcro whistle yogurt
"""
_COMPANY = """
acme globex initech umbra northwind contoso tailspin bluepeak redwood brightside datawise netforge
cloudnine openfield deepblue softline hyperion lumina vertex nimbus quantia polaris zenith aurora
"""
WORDS, HELD_OUT_WORDS = _WORDS.split(), _HELD_OUT_WORDS.split()
VALIDATION_WORDS, COMPANY = _VALIDATION_WORDS.split(), _COMPANY.split()
