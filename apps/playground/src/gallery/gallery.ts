import { FIRST, type AppState } from "../state/app-state.ts";
import type { Entry } from "../text/words.ts";
import { BOOT_NVME, TWO_GPUS } from "./example-hosts.ts";

/** An example with an address of its own: `#/example/ID`. */
export interface Example {
  readonly id: string;
  readonly title: Entry;
  readonly about: Entry;
  readonly state: Partial<AppState>;
}

const run = (scenario: string, without: readonly string[] = []): AppState["run"] => ({ scenario, iommu: "intel", seed: 1, without });

/** Every example, as the gallery shows them. */
export const EXAMPLES: readonly Example[] = [
  {
    id: "rogue-device",
    title: ["A device writes where it may not", "Un dispositivo escribe donde no debe", "设备写入不该写的地方"],
    about: ["Step through a DMA write that the IOMMU refuses, and the same without it.", "Recorra paso a paso una escritura DMA que el IOMMU rechaza, y la misma sin él.", "逐步观察 IOMMU 拒绝的一次 DMA 写入，以及没有它时的情形。"],
    state: { view: "story", run: run("rogue-device"), step: 12 },
  },
  {
    id: "two-gpus",
    title: ["Two graphics cards, one group", "Dos tarjetas gráficas, un grupo", "两块显卡，一个组"],
    about: ["Both slots hang on one processor port without ACS, so neither card can be assigned alone. Give a port ACS and see.", "Ambas ranuras cuelgan de un puerto del procesador sin ACS: ninguna tarjeta puede asignarse sola. Dé ACS a un puerto y observe.", "两个插槽都挂在处理器同一个没有 ACS 的端口上，因此都不能单独分配。给端口加上 ACS 试试。"],
    state: { view: "topology", selection: { device: "0000:01:00.0" }, views: { topology: { host: { texts: [TWO_GPUS], files: [] } } } },
  },
  {
    id: "acs-override",
    title: ["The ACS override lie", "La mentira de pcie_acs_override", "ACS 覆盖的谎言"],
    about: ["pcie_acs_override= splits the groups on paper; the hardware still lets the cards reach each other.", "pcie_acs_override= divide los grupos en el papel; el hardware sigue dejando que las tarjetas se alcancen.", "pcie_acs_override= 只在纸面上拆分了组；硬件仍允许设备互相访问。"],
    state: { view: "topology", selection: { device: "0000:01:00.0" }, views: { topology: { host: { texts: [TWO_GPUS], files: [] }, downstream: true, multifunction: true } } },
  },
  {
    id: "boot-nvme",
    title: ["The boot disk is in my card's group", "El disco de arranque está en el grupo de mi tarjeta", "启动盘与我的显卡同组"],
    about: ["A chipset's switch without ACS: the card and the NVMe disk would go to the guest together.", "Un conmutador del chipset sin ACS: la tarjeta y el disco NVMe irían juntos al invitado.", "芯片组的交换机没有 ACS：显卡和 NVMe 磁盘会一起交给客户机。"],
    state: { view: "topology", selection: { device: "0000:06:00.0" }, views: { topology: { host: { texts: [BOOT_NVME], files: [] } } } },
  },
];

/** The state of an example. */
export const exampleState = (id: string): AppState | undefined => {
  const found = EXAMPLES.find((each) => each.id === id);
  return found && { ...FIRST, ...found.state };
};
