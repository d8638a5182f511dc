import { buildEfiImage, buildLegacyImage, buildOptionRom, parseOptionRom, planCard, planIgd, romVerdict, type Era, type PlanVerdict } from "@iommu-lab/vga-arbiter";
import { guestPictures, modernHost, POINTS, type Picture } from "./guest-pictures.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const CARDS = {
  "gtx560": { name: "GTX 560 Ti", ids: { vendor: 0x10de, device: 0x1200 }, uefi: false },
  "gtx950": { name: "GTX 950", ids: { vendor: 0x10de, device: 0x1402 }, uefi: true },
} as const;
type CardName = keyof typeof CARDS;
type Firmware = "bios" | "uefi";

interface Cell {
  /** Integrated graphics is on, and the host's driver has it. */
  readonly igd: boolean;
  readonly card: CardName;
  readonly firmware: Firmware;
  readonly then: PlanVerdict;
  readonly now: PlanVerdict;
  /** On the machine, with the host's software of 2015. */
  readonly picture: Picture;
}

const GOOD: Picture = { own: POINTS, strays: 0 };
const DARK: Picture = { own: 0, strays: 0 };
const HOGGED: Picture = { own: 0, strays: POINTS };

/** Integrated graphics keeps the legacy ranges, so that only UEFI with a card that has a driver for it is left. */
const TABLE: readonly Cell[] = [
  { igd: true, card: "gtx950", firmware: "uefi", then: "works", now: "works", picture: GOOD },
  { igd: true, card: "gtx950", firmware: "bios", then: "does-not-work", now: "works-with", picture: HOGGED },
  { igd: true, card: "gtx560", firmware: "uefi", then: "does-not-work", now: "does-not-work", picture: DARK },
  { igd: true, card: "gtx560", firmware: "bios", then: "does-not-work", now: "works-with", picture: HOGGED },
  { igd: false, card: "gtx950", firmware: "uefi", then: "works", now: "works", picture: GOOD },
  { igd: false, card: "gtx950", firmware: "bios", then: "works-with", now: "works-with", picture: GOOD },
  { igd: false, card: "gtx560", firmware: "uefi", then: "does-not-work", now: "does-not-work", picture: DARK },
  { igd: false, card: "gtx560", firmware: "bios", then: "works-with", now: "works-with", picture: GOOD },
];

const nameOf = ({ igd, card, firmware }: Cell): string => `${igd ? "igd" : "no-igd"}-${card}-${firmware}`;

/** The way that always works: UEFI in the guest, and a driver for it in the card's ROM. */
const isSafe = ({ card, firmware }: Cell): boolean => CARDS[card].uefi && firmware === "uefi";

const hasDriver = (stage: Stage, card: CardName): boolean => CARDS[card].uefi && stage.has("uefi-driver");

/** A card's ROM: legacy alone, or with a UEFI driver behind it. */
const romOf = (stage: Stage, card: CardName): Uint8Array => {
  const { ids } = CARDS[card];
  return buildOptionRom([buildLegacyImage({ ...ids, initHook: 1 }), ...(hasDriver(stage, card) ? [buildEfiImage(ids)] : [])]);
};

const firmwareOf = (stage: Stage, cell: Cell): Firmware => (isSafe(cell) && !stage.has("uefi-firmware") ? "bios" : cell.firmware);

/** R69: what the ROMs say. */
const readRoms = (stage: Stage): void => {
  const EXPECTED = { gtx560: { images: [0], seabios: "yes", ovmf: "no" }, gtx950: { images: [0, 3], seabios: "yes", ovmf: "yes" } } as const;
  for (const card of ["gtx560", "gtx950"] as const) {
    const rom = romOf(stage, card);
    const { seabios, ovmf } = romVerdict(rom, CARDS[card].ids);
    stage.check(`rom-${card}`, { protected: CARDS[card].uefi, expected: EXPECTED[card], actual: { images: parseOptionRom(rom).images.map(({ codeType }) => codeType), seabios, ovmf } });
  }
  stage.say("A GTX 560 Ti has a video BIOS in its ROM and nothing else. A GTX 950 has a driver for UEFI beside it.");
};

const plan = (stage: Stage, cell: Cell, era: Era): PlanVerdict =>
  planCard({ igdHost: cell.igd, cardHasGop: romVerdict(romOf(stage, cell.card), CARDS[cell.card].ids).ovmf === "yes", guestFirmware: firmwareOf(stage, cell), era }).verdict;

const planCards = (stage: Stage): void => {
  for (const cell of TABLE) {
    stage.check(`2015-${nameOf(cell)}`, { protected: isSafe(cell), expected: cell.then, actual: plan(stage, cell, "2015") });
    stage.check(`modern-${nameOf(cell)}`, { protected: isSafe(cell), expected: cell.now, actual: plan(stage, cell, "modern") });
  }
  stage.say("Integrated graphics, card and the guest's firmware make eight cases. In 2015, with integrated graphics on, one of four works: UEFI with the GTX 950. A GTX 560 Ti needs integrated graphics off and a BIOS.");
};

/** The plans hold on machines: who shows what a guest's firmware draws. */
const drawPictures = (stage: Stage): void => {
  let agreed = 0;
  for (const igd of [true, false])
    for (const card of ["gtx950", "gtx560"] as const) {
      const cells = TABLE.filter((cell) => cell.igd === igd && cell.card === card);
      const pictures = guestPictures(stage, { igd, ids: CARDS[card].ids, uefiDriver: hasDriver(stage, card), firmware: cells.map((cell) => firmwareOf(stage, cell)) });
      for (const [i, cell] of cells.entries()) {
        const picture = pictures[i] ?? DARK;
        stage.check(`picture-${nameOf(cell)}`, { protected: isSafe(cell), expected: { ...cell.picture }, actual: { ...picture } });
        stage.count("points on the wrong display", picture.strays);
        if ((picture.own === POINTS) === (plan(stage, cell, "2015") !== "does-not-work")) agreed++;
      }
    }
  stage.check("plans-that-machines-confirm", { protected: true, expected: TABLE.length, actual: agreed });
  stage.say(`On machines the same comes out. Where integrated graphics keeps the ranges, all ${POINTS} stores of a video BIOS in a guest are on the host's screen.`);
};

/** Whether integrated graphics itself can be given to a VM. */
const planIntegrated = (stage: Stage): void => {
  const ready = { atGuest02: true, lpcBridgeAt1f: true, vgaDecodeDisabled: false, isVgaClass: true, hostReleased: true, guestFirmware: "bios" } as const;
  const of = (era: Era, mode: "legacy" | "upt"): PlanVerdict => planIgd({ ...ready, era, mode }).verdict;
  stage.check("2015-igd-assigned", { protected: false, expected: { legacy: "does-not-work", upt: "does-not-work" }, actual: { legacy: of("2015", "legacy"), upt: of("2015", "upt") } });
  stage.check("modern-igd-assigned", { protected: false, expected: { legacy: "works", upt: "works" }, actual: { legacy: of("modern", "legacy"), upt: of("modern", "upt") } });
  stage.say("Integrated graphics itself could not be assigned in 2015. Today it can, in legacy mode with a BIOS in the guest, or without a picture until the guest's driver loads.");
};

const today = (stage: Stage): void => {
  const { picture, hostBytes } = modernHost(stage, CARDS.gtx560.ids);
  stage.check("modern-released-picture", { protected: false, expected: { ...GOOD }, actual: { ...picture } });
  stage.check("modern-released-host-bytes", { protected: false, expected: 0, actual: hostBytes });
  stage.say(`Where no driver of the host uses integrated graphics, the arbiter takes its command register: the GTX 560 Ti shows its guest's picture, and of ${POINTS} stores to the frame buffer of integrated graphics ${hostBytes} arrive.`);
};

/** S24: which card works with which firmware, beside integrated graphics. */
export const igdAndTheGtx560: Scenario = {
  name: "igd-and-the-gtx560",
  title: "Integrated graphics and two GeForce cards",
  about: "The host shows its screen on integrated graphics, which cannot give up the legacy VGA ranges. A GTX 560 Ti without UEFI driver gets no picture in a VM; a GTX 950 with one does, if the guest has UEFI. All eight cases are planned, and tried on machines.",
  covers: ["R68", "R69"],
  protections: {
    "uefi-driver": ["rom-gtx950", "2015-igd-gtx950-uefi", "2015-no-igd-gtx950-uefi", "modern-igd-gtx950-uefi", "modern-no-igd-gtx950-uefi", "picture-igd-gtx950-uefi", "picture-no-igd-gtx950-uefi"],
    "uefi-firmware": ["2015-igd-gtx950-uefi", "2015-no-igd-gtx950-uefi", "modern-igd-gtx950-uefi", "modern-no-igd-gtx950-uefi", "picture-igd-gtx950-uefi"],
  },
  run: (stage) => {
    readRoms(stage);
    planCards(stage);
    drawPictures(stage);
    today(stage);
    planIntegrated(stage);
  },
};
