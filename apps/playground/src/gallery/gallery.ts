import { FIRST, type AppState } from "../state/app-state.ts";
import type { Entry } from "../text/words.ts";
import { BOOT_NVME, NO_VTD, SIMPLEDRM, TWO_GPUS } from "./example-hosts.ts";

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
    state: { view: "story", run: run("rogue-device"), step: 260 },
  },
  {
    id: "walk-nested",
    title: ["Twenty-four reads for one address", "Veinticuatro lecturas para una dirección", "一个地址，二十四次读取"],
    about: ["A guest's tables inside a host's tables: the walk as a grid.", "Tablas de un invitado dentro de las del anfitrión: el recorrido como cuadrícula.", "客户机表套在主机表中：以网格呈现的遍历。"],
    state: { view: "walk", views: { walk: { mode: "vtd-nested", at: 8 } } },
  },
  {
    id: "walk-skip",
    title: ["AMD tables that leave levels out", "Tablas de AMD que omiten niveles", "跳过级别的 AMD 表"],
    about: ["Four levels, two reads: the bits between must be 0. Set one and see.", "Cuatro niveles, dos lecturas: los bits intermedios deben ser 0. Ponga uno y mire.", "四级只读两次：中间的位须为 0。置位一个试试。"],
    state: { view: "walk", views: { walk: { mode: "amd-host-4", skip: true, address: "0x8000012678", mapped: "0x8000012678" } } },
  },
  {
    id: "unmap-without-flush",
    title: ["Unmap without flush", "Desasignar sin vaciar", "解除映射而不刷新"],
    about: ["A device writes through a translation that memory no longer holds.", "Un dispositivo escribe por una traducción que la memoria ya no contiene.", "设备经由内存中已不存在的转换写入。"],
    state: { view: "caches", views: { caches: { done: [{ do: "map", page: 0 }, { do: "read", page: 0 }, { do: "unmap", page: 0 }, { do: "write", page: 0 }] } } },
  },
  {
    id: "fault-overflow",
    title: ["When faults come faster than software reads", "Cuando los fallos llegan más rápido de lo que se leen", "故障来得比读取更快"],
    about: ["Three hundred faults, four records: what is lost, and what starts the log again.", "Trescientos fallos, cuatro registros: qué se pierde y qué reinicia el anillo.", "三百个故障，四条记录：丢失了什么，又如何恢复。"],
    state: { view: "faults", views: { faults: { done: ["readonly", "storm"] } } },
  },
  {
    id: "forged-interrupt",
    title: ["A message forged by hand", "Un mensaje falsificado a mano", "手工伪造的消息"],
    about: ["Compatibility format names any vector; remapping blocks it.", "El formato compatible nombra cualquier vector; el remapeo lo bloquea.", "兼容格式可指定任意向量；重映射将其阻止。"],
    state: { view: "interrupts", views: { interrupts: { address: 0xfee00000, data: 0x41, requester: 0x0300 } } },
  },
  {
    id: "posted-or-not",
    title: ["Thirty-two interrupts, posted or not", "Treinta y dos interrupciones, publicadas o no", "三十二次中断：投递与否"],
    about: ["One notification for all of them, and no exit: see ON, PIR and NDST.", "Un solo aviso para todas y ninguna salida: vea ON, PIR y NDST.", "全部只需一次通知，无退出：看 ON、PIR 和 NDST。"],
    state: { view: "interrupts", views: { interrupts: { posted: true, messages: 32 } } },
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
    state: { view: "topology", selection: { device: "0000:01:00.0" }, views: { topology: { host: { texts: [TWO_GPUS], files: [] }, downstream: true, multifunction: true, peer: "0000:02:00.0" } } },
  },
  {
    id: "boot-nvme",
    title: ["The boot disk is in my card's group", "El disco de arranque está en el grupo de mi tarjeta", "启动盘与我的显卡同组"],
    about: ["A chipset's switch without ACS: the card and the NVMe disk would go to the guest together.", "Un conmutador del chipset sin ACS: la tarjeta y el disco NVMe irían juntos al invitado.", "芯片组的交换机没有 ACS：显卡和 NVMe 磁盘会一起交给客户机。"],
    state: { view: "topology", selection: { device: "0000:06:00.0" }, views: { topology: { host: { texts: [BOOT_NVME], files: [] }, peer: "0000:05:00.0" } } },
  },
  {
    id: "plan-a-card",
    title: ["A plan for a graphics card", "Un plan para una tarjeta gráfica", "显卡直通方案"],
    about: ["What the doctor finds on an i7-3770, and every file it takes: read, compare, save.", "Qué encuentra el diagnóstico en un i7-3770 y todos los archivos necesarios: léalos, compárelos, guárdelos.", "在 i7-3770 上的诊断结果，以及所需的全部文件：阅读、比较、保存。"],
    state: { view: "planner", views: { planner: { host: { bundled: "i7-3770-p8z68-v" }, devices: ["0000:01:00.0"] } } },
  },
  {
    id: "i7-2600k",
    title: ["i7-2600K: no VT-d", "i7-2600K: sin VT-d", "i7-2600K：没有 VT-d"],
    about: ["Everything is switched on, and yet: this processor has no IOMMU.", "Todo está activado y, sin embargo, este procesador no tiene IOMMU.", "一切都已启用，然而这款处理器没有 IOMMU。"],
    state: { view: "planner", views: { planner: { host: { texts: [NO_VTD], files: [] }, devices: ["0000:01:00.0"] } } },
  },
  {
    id: "simpledrm",
    title: ["simpledrm took my BAR", "simpledrm se quedó con mi BAR", "simpledrm 占用了我的 BAR"],
    about: ["The kernel's first framebuffer lies in the card's memory, so vfio-pci cannot have it.", "El primer framebuffer del núcleo está en la memoria de la tarjeta y vfio-pci no puede tomarla.", "内核最初的帧缓冲位于显卡内存中，因此 vfio-pci 无法接管。"],
    state: { view: "planner", views: { planner: { host: { texts: [TWO_GPUS, SIMPLEDRM], files: [] }, devices: ["0000:01:00.0"] } } },
  },
  {
    id: "unit-line",
    title: ["What a kernel's DMAR line says", "Qué dice una línea DMAR del núcleo", "内核的一行 DMAR 日志说了什么"],
    about: ["The capability registers of an IOMMU, bit by bit; change one and see.", "Los registros de capacidades de un IOMMU, bit a bit; cambie uno y observe.", "逐位查看 IOMMU 的能力寄存器；改一位试试。"],
    state: { view: "inspector", selection: { field: "SAGAW" } },
  },
  {
    id: "resized-bar",
    title: ["A resized BAR of 64 GiB", "Una BAR redimensionada de 64 GiB", "调整到 64 GiB 的 BAR"],
    about: ["Without Above 4G decoding the host has no room for it, and the guest's window is too small.", "Sin Above 4G decoding el equipo no tiene sitio, y la ventana del invitado es demasiado pequeña.", "没有 Above 4G decoding 时主机放不下它，客户机的窗口也太小。"],
    state: { view: "addresses", views: { addresses: { host: { bundled: "q35-intel-iommu" }, bar: 16, above4g: false } } },
  },
  {
    id: "white-rabbit",
    title: ["White Rabbit: forged interrupts", "White Rabbit: interrupciones falsificadas", "白兔：伪造的中断"],
    about: ["A device writes messages with vectors of its choice. Take interrupt remapping away and see what arrives.", "Un dispositivo escribe mensajes con los vectores que quiere. Quite el remapeo de interrupciones y vea qué llega.", "设备写入自选向量的消息。关掉中断重映射，看看什么会到达。"],
    state: { view: "attacks", run: run("msi-forgery"), step: 1_000_000, selection: { device: "0000:01:00.0" }, views: { attacks: { lab: "msi-forging", answered: false } } },
  },
  {
    id: "stale-window",
    title: ["The stale window of lazy mode", "La ventana obsoleta del modo perezoso", "延迟模式的过期窗口"],
    about: ["Lazy mode shares one invalidation among many unmaps; until then the device still sees every page.", "El modo perezoso comparte una invalidación entre muchas desasignaciones; hasta entonces el dispositivo ve cada página.", "延迟模式让多次解除共用一次失效；在那之前设备仍能看到每一页。"],
    state: { view: "attacks", run: run("strict-lazy-pt"), step: 1_000_000, selection: { device: "0000:01:00.0" }, views: { attacks: { lab: "stale-iotlb", answered: false } } },
  },
  {
    id: "three-vms-vga",
    title: ["Three VMs, one VGA window", "Tres VM, una ventana VGA", "三台虚拟机，一个 VGA 窗口"],
    about: ["Who owns 0xa0000, who holds a lock and who waits, access by access.", "Quién posee 0xa0000, quién tiene un bloqueo y quién espera, acceso a acceso.", "逐次访问地看谁拥有 0xa0000、谁持锁、谁在等待。"],
    state: { view: "vga", run: run("three-vms-one-window"), step: 1_000_000 },
  },
  {
    id: "first-experiment",
    title: ["Your own machine, in TypeScript", "Su propia máquina, en TypeScript", "用 TypeScript 写自己的机器"],
    about: ["Map a page, write through it and past it, and count the faults.", "Asigne una página, escriba a través de ella y fuera de ella, y cuente los fallos.", "映射一页，通过它写入也写到它之外，并数一数故障。"],
    state: { view: "code", views: { code: { program: "first-dma", source: "" } } },
  },
];

/** The state of an example. */
export const exampleState = (id: string): AppState | undefined => {
  const found = EXAMPLES.find((each) => each.id === id);
  return found && { ...FIRST, ...found.state };
};
