"""Weapons: what is known of each from its maker or its army, and of each kind from measurements."""

from dataclasses import dataclass

from gunshot.simulate.physics import Bullet


@dataclass(frozen=True)
class Kind:
    """What measurements give for a kind of weapon: peak pressure 1 m beside the muzzle, the blast's positive phase."""

    peak_pa: tuple[float, float]
    positive_ms: tuple[float, float]


@dataclass(frozen=True)
class Weapon:
    """One weapon with its usual cartridge. The speed is the muzzle's; rounds a minute are cyclic where automatic."""

    kind: str
    calibre_mm: float
    length_mm: float  # of the bullet
    speed: float  # m/s
    speed_at_100_m: float
    rounds_per_min: tuple[float, float]
    automatic: bool = False

    def bullet(self, share: float = 1.0) -> Bullet:
        """Return the bullet, its speeds scaled: lots and barrels differ by a few percent."""
        return Bullet(self.speed * share, self.speed_at_100_m * share, self.calibre_mm / 1e3, self.length_mm / 1e3)


# Peaks of 150 dB SPL (0.6 kPa) for pistols to 172 dB (8 kPa) for full-power rifles, positive phases of 0.25 to 2 ms.
# The .22s share the range of their kind, which is too loud for them.
KINDS = {
    "pistol": Kind((600, 4000), (0.25, 0.8)),
    "revolver": Kind((800, 4500), (0.3, 1.0)),
    "rifle": Kind((1000, 8000), (0.35, 1.4)),
    "assault_rifle": Kind((1200, 6500), (0.35, 1.1)),
    "machine_gun": Kind((1500, 8000), (0.4, 1.5)),
    "shotgun": Kind((1200, 6000), (0.6, 2.0)),
    "submachine_gun": Kind((600, 2800), (0.25, 0.8)),
}

# Sources, and what is only typical, in DOC/simulator.md.
WEAPONS = {
    "Glock 17": Weapon("pistol", 9.01, 15.5, 375, 315, (180, 400)),
    "Beretta 92": Weapon("pistol", 9.01, 15.5, 381, 319, (180, 400)),
    "M1911": Weapon("pistol", 11.48, 17.0, 253, 240, (180, 360)),
    "Ruger Mark IV": Weapon("pistol", 5.7, 11.7, 320, 280, (180, 400)),
    "Desert Eagle": Weapon("pistol", 12.7, 19.5, 448, 385, (100, 240)),
    "S&W Model 10": Weapon("revolver", 9.07, 17.0, 265, 250, (120, 250)),
    "Colt Python": Weapon("revolver", 9.07, 16.0, 440, 370, (120, 250)),
    "Ruger Blackhawk": Weapon("revolver", 10.9, 19.0, 420, 355, (60, 120)),
    "Remington 700": Weapon("rifle", 7.82, 31.0, 790, 725, (15, 40)),
    "Mosin-Nagant": Weapon("rifle", 7.92, 32.3, 865, 780, (15, 40)),
    "Ruger 10/22": Weapon("rifle", 5.7, 11.7, 375, 307, (100, 300)),
    "AR-15": Weapon("rifle", 5.7, 19.0, 960, 850, (100, 300)),
    "AK-47": Weapon("assault_rifle", 7.92, 26.8, 715, 630, (580, 650), True),
    "AK-12": Weapon("assault_rifle", 5.6, 25.5, 880, 790, (650, 750), True),
    "M16": Weapon("assault_rifle", 5.7, 23.0, 948, 860, (700, 900), True),
    "M4": Weapon("assault_rifle", 5.7, 23.0, 905, 820, (700, 970), True),
    "Zastava M92": Weapon("assault_rifle", 7.92, 26.8, 678, 595, (600, 650), True),
    "M249": Weapon("machine_gun", 5.7, 23.0, 915, 830, (700, 850), True),
    "MG-42": Weapon("machine_gun", 8.22, 35.3, 755, 695, (1100, 1300), True),
    "PKM": Weapon("machine_gun", 7.92, 32.3, 825, 740, (650, 750), True),
    "Remington 870": Weapon("shotgun", 18.5, 22.0, 475, 350, (60, 180)),
    "Benelli M4": Weapon("shotgun", 18.5, 22.0, 465, 345, (100, 240)),
    "MP5": Weapon("submachine_gun", 9.01, 15.5, 400, 335, (750, 850), True),
    "Uzi": Weapon("submachine_gun", 9.01, 15.5, 400, 335, (550, 650), True),
}
