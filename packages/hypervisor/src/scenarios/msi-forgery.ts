import type { Machine } from "../machine/machine.ts";
import { laboratory, type LaboratoryOptions } from "./laboratory.ts";
import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

const [VICTIM, ATTACKER] = ["0000:01:00.0", "0000:02:00.0"] as const;
/** What the processors may be in for: the vector that Linux uses for system calls, NMI, INIT. */
const SYSTEM_CALL = 0x80;
const [NMI, INIT] = [0x400, 0x500];
const MESSAGE = 0xfee0_0000;

interface Attack {
  readonly id: string;
  readonly text: string;
  readonly address: (victim: { readonly address: number; readonly data: number }) => number;
  readonly data: (victim: { readonly address: number; readonly data: number }) => number;
}

const ATTACKS: readonly Attack[] = [
  { id: "vector", text: "the vector of another device's interrupt", address: ({ address }) => address, data: ({ data }) => data },
  { id: "system-call", text: "vector 80h, a system call", address: () => MESSAGE, data: () => SYSTEM_CALL },
  { id: "nmi", text: "an NMI", address: () => MESSAGE, data: () => NMI },
  { id: "init", text: "an INIT, which resets a processor", address: () => MESSAGE, data: () => INIT },
];

interface Config {
  readonly id: string;
  readonly protected: boolean;
  readonly options: LaboratoryOptions;
}

const CONFIGS: readonly Config[] = [
  { id: "no-iommu", protected: false, options: { iommus: [], commandLine: "", apic: "xapic" } },
  { id: "dma-only", protected: false, options: { commandLine: "intel_iommu=on intremap=off", apic: "xapic" } },
  { id: "remapping", protected: true, options: { apic: "xapic" } },
  { id: "remapping-x2apic", protected: true, options: { apic: "x2apic", processors: 300 } },
];

/** One forged message. @returns whether it reached a processor */
const forge = (machine: Machine, attack: Attack): boolean => {
  let arrived = 0;
  const victim = machine.kernel.requestInterrupt(machine.at(VICTIM).address, () => arrived++, 1);
  machine.at(ATTACKER).port.message(attack.address(victim.message), attack.data(victim.message));
  machine.advance(0);
  return arrived + machine.processors.stray.length > 0;
};

/** S10: a device makes up interrupts. */
export const msiForgery: Scenario = {
  name: "msi-forgery",
  title: "Forged interrupts",
  about: "An interrupt is a write to 0xfee…: a device that can write can make one up. Four forgeries against four configurations: without interrupt remapping all arrive, also behind an IOMMU; with it none does.",
  covers: ["R20", "R21", "R23"],
  protections: { "interrupt-remapping": ATTACKS.map(({ id }) => `remapping-${id}`) },
  run: (stage) => {
    for (const config of CONFIGS) {
      const options = config.id === "remapping" && !stage.has("interrupt-remapping") ? { ...config.options, commandLine: "intel_iommu=on intremap=off" } : config.options;
      const got = ATTACKS.map((attack) => {
        const arrived = forge(stage.machine(`${config.id}, ${attack.id}`, laboratory(options)), attack);
        stage.check(`${config.id}-${attack.id}`, { protected: config.protected, expected: !config.protected, actual: arrived });
        if (arrived) stage.count("forged interrupts that arrived");
        return arrived;
      });
      stage.say(`${config.id}: ${got.filter(Boolean).length} of ${ATTACKS.length} forged interrupts reach a processor.`);
    }
    ownInterrupts(stage);
  },
};

/** What belongs to the device still arrives, also at a processor that a plain message cannot name. */
const ownInterrupts = (stage: Stage): void => {
  const last = 299;
  const machine = stage.machine("300 processors", laboratory({ apic: "x2apic", processors: last + 1 }));
  let arrived = 0;
  const own = machine.kernel.requestInterrupt(machine.at(VICTIM).address, () => arrived++, last);
  machine.at(VICTIM).port.message(own.message.address, own.message.data);
  stage.check("own-interrupt-at-processor-299", { protected: true, expected: 1, actual: arrived });
  stage.say(`The device's own interrupt arrives, at processor ${last}, which only a remapping entry with 32 bits of APIC ID can name.`);
};
