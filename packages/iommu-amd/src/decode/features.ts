import { wordsOf, type Fact, type Finding, type Interpretation } from "@iommu-lab/pci-bus/decode";
import { EFR, EFR2 } from "../layouts/index.ts";

type FeatureName = keyof typeof EFR.fields;

/** Capabilities that need another: [which, what it needs]. AMD-Vi §3.4.1. */
const NEEDS: readonly (readonly [FeatureName, FeatureName])[] = [
  ["GAPPISup", "GASup"],
  ["GAMSup", "GASup"],
  ["GIoSup", "GTSup"],
  ["USSup", "GTSup"],
  ["EPHSup", "PPRSup"],
  ["PPRAutoRspSup", "PPRSup"],
  ["PprOvrflwEarlySup", "PPRSup"],
  ["DualPprLogSup", "PPRSup"],
  ["HDSup", "HASup"],
];

const HOST_LEVELS = [4, 5, 6, 0] as const;

/** What an extended feature register says. AMD-Vi §3.4.1 "Extended Feature Register". */
export const interpretEfr = (value: bigint, offset: number): Interpretation => {
  const efr = EFR.layout.decode(wordsOf(value, 64));
  const features = (Object.keys(EFR.fields) as FeatureName[]).filter((name) => EFR.fields[name].msb === EFR.fields[name].lsb && efr[name] === 1);
  const findings: Finding[] = NEEDS.filter(([name, needed]) => efr[name] && !efr[needed]).map(([name, needed]) => ({ id: "efr-contradiction", offset, text: `${name} is set but ${needed}, which it needs, is not.` }));
  const find = (id: string, text: string): void => void findings.push({ id, offset, text });
  const hostLevels = HOST_LEVELS[efr.HATS] as number;
  const guestLevels = efr.GTSup ? (efr.GATS < 2 ? 4 + efr.GATS : null) : 0;
  const gcr3Levels = efr.GTSup ? (efr.GLXSup < 3 ? efr.GLXSup + 1 : null) : 0;
  if (efr.HATS === 3) find("efr-no-host-translation", "HATS is 3: the IOMMU has no host (v1) page tables, guest (v2) tables must do.");
  if (efr.GTSup && efr.GATS > 1) find("efr-guest-size-reserved", `GATS ${efr.GATS} is reserved: how deep guest tables go is not known.`);
  if (efr.GTSup && efr.GLXSup === 3) find("efr-gcr3-levels-reserved", "GLXSup 3 is reserved: how deep GCR3 tables go is not known.");
  if (!efr.GASup || efr.GAMSup !== 1) find("efr-no-posted-interrupts", "Interrupts of assigned devices cannot be posted into running guests: each one stops its guest.");
  const facts: Record<string, Fact> = {
    hostLevels,
    guestLevels,
    gcr3Levels,
    pasidBits: efr.GTSup ? efr.PASMax + 1 : 0,
    pageRequests: efr.PPRSup === 1,
    x2apic: efr.XTSup === 1,
    guestVirtualApic: efr.GASup === 1 && efr.GAMSup === 1,
    deviceTableSegments: 1 << efr.DevTblSegSup,
    performanceCounters: efr.PCSup === 1,
    accessedDirty: efr.HASup === 1 && efr.HDSup === 1,
    secureNestedPaging: efr.SNPSup === 1,
    features,
  };
  const meaning = [
    hostLevels === 0 ? "No host page tables." : `Host page tables of up to ${hostLevels} levels (${Math.min(64, 12 + 9 * hostLevels)} bits).`,
    efr.GTSup ? `Guest page tables of ${guestLevels ?? "an unknown number of"} levels, PASIDs of ${efr.PASMax + 1} bits in GCR3 tables of ${gcr3Levels ?? "an unknown number of"} levels.` : "No guest page tables, no PASIDs.",
    `Interrupts go to ${efr.XTSup ? "32-bit (x2APIC)" : "8-bit"} APIC identifiers; into running guests ${facts.guestVirtualApic ? "directly (guest virtual APIC)" : "only through the host"}.`,
    `Page requests ${efr.PPRSup ? "" : "not "}supported; performance counters ${efr.PCSup ? "" : "not "}there; accessed and dirty bits ${facts.accessedDirty ? "" : "not "}written.`,
  ];
  return { facts, meaning, findings };
};

/** What the second register says. AMD-Vi §3.4 "Extended Feature 2 Register". */
export const interpretEfr2 = (value: bigint): Interpretation => {
  const efr2 = EFR2.layout.decode(wordsOf(value, 64));
  return {
    facts: { interruptTableEntries: efr2.NumIntRemapSup === 1 ? 2048 : 512, sevSnpIo: efr2.SevSnpIoSup === 1, guestGcr3Pointers: efr2.GCR3TRPMode === 1, hyperTransportRangeIgnored: efr2.HTRangeIgnore === 1 },
    meaning: [`Interrupt remapping tables of up to ${efr2.NumIntRemapSup === 1 ? 2048 : 512} entries a device${efr2.HTRangeIgnore ? "; addresses from FD_0000_0000h on are ordinary ones" : ""}.`],
  };
};
