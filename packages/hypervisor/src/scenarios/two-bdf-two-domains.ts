import { PAGE_SIZE } from "@iommu-lab/memory";
import { Access, formatAddress } from "@iommu-lab/pci-bus";
import { barOf } from "./host-driver.ts";
import type { Machine } from "../machine/machine.ts";
import { CARD, laboratory, slot } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const [FIRST, SECOND] = ["0000:01:00.0", "0000:02:00.0"] as const;
const EDU = { at: "01.0", vendor: 0x1234, device: 0x11e8, classCode: 0xff_0000, behaviour: "edu" } as const;
const IOVA = 0x1234_5000;

/** Two functions with a page at the same IOVA. */
const isolate = (stage: Stage, machine: Machine): void => {
  const frames = [FIRST, SECOND].map((bdf) => {
    const { address } = machine.at(bdf);
    const driver = machine.kernel.driverOf(address);
    const domain = stage.has("domain-each") || bdf === FIRST ? driver?.createDomain({ kind: "paging" }) : machine.kernel.defaultDomainOf(machine.at(FIRST).address);
    const hpa = machine.frames.allocate() * PAGE_SIZE;
    if (driver && domain) {
      if (bdf === FIRST || stage.has("domain-each")) domain.map(IOVA, hpa, PAGE_SIZE, Access.Read | Access.Write);
      machine.kernel.attach(address, domain);
    }
    return hpa;
  });
  for (const [i, bdf] of [FIRST, SECOND].entries()) machine.at(bdf).port.dmaWrite(IOVA, new Uint8Array(16).fill(i + 1));
  machine.advance(0);
  const values = frames.map((hpa) => machine.memory.read8(hpa));
  stage.say("Two cards write to the same IOVA. Each write lands in its own card's page.");
  stage.check("first-page", { protected: true, expected: 1, actual: values[0] ?? null });
  stage.check("second-page", { protected: true, expected: 2, actual: values[1] ?? null });
};

/** Does a card reach another's registers past the IOMMU? @returns whether the write arrived */
const peerAttack = (machine: Machine, attacker: string, victim: string): boolean => {
  const bar = barOf(machine.at(victim), 0);
  const register = bar + 0x10;
  machine.map.write32(register, 0);
  machine.at(attacker).port.dmaWrite(register, Uint8Array.of(0x77, 0, 0, 0));
  machine.advance(0);
  return machine.map.read32(register) === 0x77;
};

/** A switch with a card below each of two ports, which are functions of one device. */
const withSwitch = (acs: boolean) =>
  laboratory({
    functions: [
      {
        ...slot("01.0", 1, [], { subordinateBus: 4 }),
        below: [{ at: "00.0", kind: "upstream-port", vendor: 0x10b5, device: 0x8747, classCode: 0x06_0400, secondaryBus: 2, subordinateBus: 4, below: [port("01.0", 3, acs), port("01.1", 4, acs)] }],
      },
    ],
  });
const port = (at: string, bus: number, acs: boolean) => ({ at, kind: "downstream-port", vendor: 0x10b5, device: 0x8747, classCode: 0x06_0400, multifunction: true, capabilities: { acs }, secondaryBus: bus, below: [CARD] }) as const;

const groupSizes = (machine: Machine, bdf: string): string[] => machine.kernel.groupOf(machine.at(bdf).address)?.members.map(formatAddress) ?? [];

/** S9: what an IOMMU can tell apart. */
export const twoBdfTwoDomains: Scenario = {
  name: "two-bdf-two-domains",
  title: "Who can be told apart",
  about: "Requester IDs choose the tables: the same IOVA means different memory for two cards. What sits behind a bridge to conventional PCI shares one ID and one group; behind a switch it depends on ACS whether cards reach each other past the IOMMU.",
  covers: ["R10", "R17", "R30"],
  protections: { "domain-each": ["second-page"], acs: ["acs-peer-write", "acs-group"] },
  run: (stage) => {
    isolate(stage, stage.machine("two slots", laboratory()));
    const bridged = stage.machine("conventional PCI", laboratory({ functions: [{ ...slot("01.0", 1, [], { subordinateBus: 2 }), below: [{ at: "00.0", kind: "pcie-to-pci", vendor: 0x1b21, device: 0x1080, classCode: 0x06_0401, secondaryBus: 2, below: [EDU, { ...EDU, at: "02.0" }] }] }] }));
    stage.check("conventional-group", { protected: true, expected: ["0000:01:00.0", "0000:02:01.0", "0000:02:02.0"], actual: groupSizes(bridged, "0000:02:01.0") });
    stage.say("Two cards behind a bridge to conventional PCI send under the bridge's requester ID: one group, both or neither.");
    const open = stage.machine("switch without ACS", withSwitch(false));
    const guarded = stage.machine("switch with ACS", withSwitch(stage.has("acs")));
    stage.check("open-peer-write", { protected: false, expected: true, actual: peerAttack(open, "0000:03:00.0", "0000:04:00.0") });
    stage.check("open-group", { protected: false, expected: true, actual: groupSizes(open, "0000:03:00.0").includes("0000:04:00.0") });
    stage.check("acs-peer-write", { protected: true, expected: false, actual: peerAttack(guarded, "0000:03:00.0", "0000:04:00.0") });
    stage.check("acs-group", { protected: true, expected: ["0000:03:00.0"], actual: groupSizes(guarded, "0000:03:00.0") });
    stage.say("Behind a switch without ACS one card writes the other's registers and the IOMMU never sees it: one group. With ACS the write goes up to the IOMMU, which refuses it: two groups.");
    severalUnits(stage);
  },
};

/** Two IOMMUs: one names a slot, the other takes the rest. */
const severalUnits = (stage: Stage): void => {
  const machine = stage.machine("two IOMMUs", laboratory({ iommus: [{ covers: ["0000:01:00.0"] }, stage.vendor === "amd" ? { function: "0000:00:08.2" } : {}] }));
  const units = [FIRST, SECOND].map((bdf) => {
    const unit = machine.unitOf(machine.at(bdf).address);
    return unit ? machine.units.indexOf(unit) : -1;
  });
  stage.check("unit-of-each", { protected: true, expected: [0, 1], actual: units });
  for (const bdf of [FIRST, SECOND]) machine.at(bdf).port.dmaWrite(0x5000, new Uint8Array(4));
  machine.advance(0);
  stage.check("requests-of-each-unit", { protected: true, expected: [1, 1], actual: machine.units.map(({ counts }) => counts().requests) });
  stage.say("A machine may have several IOMMUs: firmware's tables say which function belongs to which.");
};
