import { Completion } from "@iommu-lab/pci-bus";
import type { Machine } from "../machine/machine.ts";
import { equalBytes } from "./bytes.ts";
import { laboratory } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const PAGE = 4096;
const SECRET = 64;

interface Outcome {
  readonly written: number;
  readonly stolen: number;
}

/** The attack: overwrite a page of the kernel, read a secret out of another. Both outcomes are counted in bytes. */
const attack = (stage: Stage, machine: Machine): Outcome => {
  const page = machine.frames.allocate() * PAGE;
  const before = stage.random.bytes(PAGE);
  const secret = stage.random.bytes(SECRET);
  const target = machine.frames.allocate() * PAGE;
  machine.memory.writeFrom(page, before);
  machine.memory.writeFrom(target, secret);
  const { port } = machine.at("0000:01:00.0");
  port.dmaWrite(page, before.map((byte) => byte ^ 0xff));
  const stolen = new Uint8Array(SECRET);
  const read = port.dmaRead(target, stolen) === Completion.Successful;
  machine.advance(0);
  const after = new Uint8Array(PAGE);
  machine.memory.readInto(page, after);
  return { written: PAGE - equalBytes(after, before), stolen: read ? equalBytes(stolen, secret) : 0 };
};

/** S2: a device writes where it likes. */
export const rogueDevice: Scenario = {
  name: "rogue-device",
  title: "A device that attacks the kernel",
  about: "A faulty or malicious device overwrites a page of the kernel and reads a secret: without an IOMMU it does, behind one it cannot, and with iommu=pt it can again.",
  covers: ["R4", "R6", "R7", "R79"],
  protections: { translation: ["iommu-write", "iommu-read", "iommu-faults"] },
  run: (stage) => {
    stage.say("A card in the slot at 01:00.0 has turned bad. It overwrites 4096 bytes of the kernel and reads a secret of 64 bytes.");
    const open = attack(stage, stage.machine("no IOMMU", laboratory({ commandLine: "", iommus: [] })));
    stage.say(`Without an IOMMU: ${open.written} bytes of the kernel are changed, ${open.stolen} bytes of the secret are in the device.`);
    stage.check("open-write", { protected: false, expected: PAGE, actual: open.written });
    stage.check("open-read", { protected: false, expected: SECRET, actual: open.stolen });

    const guarded = stage.machine("IOMMU on", laboratory({ commandLine: stage.has("translation") ? "intel_iommu=on" : "intel_iommu=off amd_iommu=off" }));
    const closed = attack(stage, guarded);
    stage.say(`With the IOMMU on, nothing is mapped for this device: ${closed.written} bytes changed, ${closed.stolen} stolen, and ${guarded.kernel.faults.length} faults name the culprit.`);
    stage.check("iommu-write", { protected: true, expected: 0, actual: closed.written });
    stage.check("iommu-read", { protected: true, expected: 0, actual: closed.stolen });
    stage.check("iommu-faults", { protected: true, expected: 2, actual: guarded.kernel.faults.length });

    const passed = attack(stage, stage.machine("iommu=pt", laboratory({ commandLine: "intel_iommu=on iommu=pt" })));
    stage.say(`With iommu=pt the host's own devices see memory as it is: ${passed.written} bytes changed, ${passed.stolen} stolen. That option is for speed, not for protection.`);
    stage.check("pt-write", { protected: false, expected: PAGE, actual: passed.written });
    stage.check("pt-read", { protected: false, expected: SECRET, actual: passed.stolen });
    stage.count("bytes changed", open.written + closed.written + passed.written);
    stage.count("bytes stolen", open.stolen + closed.stolen + passed.stolen);
  },
};
