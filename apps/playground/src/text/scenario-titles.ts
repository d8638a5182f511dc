import type { Entry, Language } from "./words.ts";
import { LANGUAGES } from "./words.ts";

/** Titles of the scenarios, in their order; known before the machines' code is loaded. English is the package's (a test compares). */
export const SCENARIO_TITLES: Readonly<Record<string, Entry>> = {
  "mmu-and-iommu": ["One buffer, two translations", "Un búfer, dos traducciones", "一个缓冲区，两次转换"],
  "rogue-device": ["A device that attacks the kernel", "Un dispositivo que ataca al kernel", "攻击内核的设备"],
  "guest-address-trap": ["A guest gives its addresses to a device", "Un invitado da sus direcciones a un dispositivo", "客户机把自己的地址交给设备"],
  "scatter-to-contiguous": ["One megabyte in pieces", "Un megabyte en pedazos", "零散的一兆字节"],
  "dma32-bounce": ["A 32-bit card and 8 GiB of memory", "Una tarjeta de 32 bits y 8 GiB de memoria", "32 位卡与 8 GiB 内存"],
  "iotlb-wall": ["Where the IOTLB ends", "Donde acaba la IOTLB", "IOTLB 的尽头"],
  "strict-lazy-pt": ["When is a mapping really gone?", "¿Cuándo desaparece de verdad una asignación?", "映射何时真正消失？"],
  "ats-stale": ["A card with a memory of its own", "Una tarjeta con memoria propia", "有自己记忆的卡"],
  "two-bdf-two-domains": ["Who can be told apart", "A quién se puede distinguir", "谁能被区分开"],
  "msi-forgery": ["Forged interrupts", "Interrupciones falsificadas", "伪造的中断"],
  "irq-migrate-and-post": ["A hundred thousand interrupts on the move", "Cien mil interrupciones en movimiento", "迁移中的十万次中断"],
  "assign-a-device": ["A capture card moves into a virtual machine", "Una capturadora se muda a una máquina virtual", "采集卡搬进虚拟机"],
  "sriov-eight-vms": ["One card for eight virtual machines", "Una tarjeta para ocho máquinas virtuales", "一张卡供八台虚拟机使用"],
  "vga-curse": ["Two graphics cards, one window", "Dos tarjetas gráficas, una ventana", "两张显卡，一个窗口"],
  "three-vms-one-window": ["Three VMs draw through one window", "Tres VM dibujan por una sola ventana", "三台虚拟机共用一个窗口"],
  "igd-and-the-gtx560": ["Integrated graphics and two GeForce cards", "Gráficos integrados y dos tarjetas GeForce", "集成显卡与两张 GeForce 卡"],
};

/** A scenario's title; of an unknown one its name. */
export const scenarioTitle = (name: string, language: Language): string => SCENARIO_TITLES[name]?.[LANGUAGES.indexOf(language)] ?? name;
