import { words } from "../text/words.ts";

export const hostWords = words({
  host: ["Host", "Equipo", "主机"],
  pasted: ["What I pasted", "Lo que he pegado", "我粘贴的内容"],
  source: ["Which host", "Qué equipo", "选择主机"],
  paste: ["Paste anything of a machine", "Pegue cualquier dato de un equipo", "粘贴一台机器的任何信息"],
  pasteHint: ["lspci -nnvvv, dmesg, /proc/cmdline, /proc/cpuinfo, a listing of IOMMU groups, DMAR or IVRS (acpidump or hex), libvirt XML, a QEMU command line – one after the other, or files: also a snapshot (.tar.gz) made by iommu snapshot.", "lspci -nnvvv, dmesg, /proc/cmdline, /proc/cpuinfo, una lista de grupos IOMMU, DMAR o IVRS (acpidump o hexadecimal), XML de libvirt, una línea de órdenes de QEMU: uno tras otro, o como archivos; también una captura (.tar.gz) de iommu snapshot.", "lspci -nnvvv、dmesg、/proc/cmdline、/proc/cpuinfo、IOMMU 组列表、DMAR 或 IVRS（acpidump 或十六进制）、libvirt XML、QEMU 命令行——可逐一粘贴，也可用文件，包括 iommu snapshot 生成的快照（.tar.gz）。"],
  take: ["Look at this text", "Analizar este texto", "查看此文本"],
  files: ["Or files", "O archivos", "或选择文件"],
  drop: ["Files can also be dropped here.", "También puede soltar archivos aquí.", "也可以把文件拖放到这里。"],
  given: ["Given", "Recibido", "已提供"],
  recognised: ["recognised: {kinds}", "reconocido: {kinds}", "已识别：{kinds}"],
  nothing: ["nothing in it was recognised", "no se reconoció nada", "未识别出任何内容"],
  gone: ["no longer in this browser: give the file again", "ya no está en este navegador: vuelva a dar el archivo", "此浏览器中已没有该文件：请重新提供"],
  remove: ["Remove {what}", "Quitar {what}", "移除 {what}"],
  redact: ["Blank serial numbers, MAC addresses and host names", "Borrar números de serie, direcciones MAC y nombres de equipo", "抹去序列号、MAC 地址和主机名"],
  redacted: ["{count} blanked.", "{count} borrados.", "已抹去 {count} 处。"],
  stored: ["Too large for the address: it is kept in this browser only. The address alone does not carry it.", "Demasiado grande para la dirección: se guarda solo en este navegador. La dirección por sí sola no lo lleva.", "内容太大，无法放入地址：仅保存在此浏览器中。仅凭地址无法带走它。"],
  missing: ["What the source does not show", "Lo que la fuente no muestra", "来源未显示的内容"],
  warnings: ["Noticed while reading", "Observado al leer", "读取时注意到"],
  others: ["The input tells of {count} more machines; the first is shown.", "La entrada describe {count} equipos más; se muestra el primero.", "输入还描述了另外 {count} 台机器；这里显示第一台。"],
  reading: ["The files are being read …", "Leyendo los archivos …", "正在读取文件…"],
  empty: ["Nothing pasted yet.", "Todavía no ha pegado nada.", "尚未粘贴任何内容。"],
});

/** Titles of the bundled hosts, which packages tell in English. */
export const HOST_TITLES = {
  "i7-3770-p8z68-v": ["Core i7-3770, ASUS P8Z68-V: integrated graphics and a GeForce GTX 950", "Core i7-3770, ASUS P8Z68-V: gráficos integrados y una GeForce GTX 950", "Core i7-3770、ASUS P8Z68-V：集成显卡与 GeForce GTX 950"],
  "q35-intel-iommu": ["Virtual machine with VT-d: switch, PCI bridge, virtual functions", "Máquina virtual con VT-d: conmutador, puente PCI, funciones virtuales", "带 VT-d 的虚拟机：交换机、PCI 桥、虚拟功能"],
  "q35-intel-iommu-off": ["The same virtual machine with intel_iommu=off", "La misma máquina virtual con intel_iommu=off", "同一虚拟机，intel_iommu=off"],
  "q35-amd-iommu": ["Virtual machine with AMD-Vi and iommu=pt", "Máquina virtual con AMD-Vi e iommu=pt", "带 AMD-Vi 和 iommu=pt 的虚拟机"],
} as const;
export const hostTitles = words(HOST_TITLES);
