import { LANGUAGES, words, type Language } from "../text/words.ts";

const CLASSES = {
  "0x0100": ["SCSI controller", "Controlador SCSI", "SCSI 控制器"],
  "0x0101": ["IDE controller", "Controlador IDE", "IDE 控制器"],
  "0x0104": ["RAID controller", "Controlador RAID", "RAID 控制器"],
  "0x0106": ["SATA controller", "Controlador SATA", "SATA 控制器"],
  "0x0107": ["SAS controller", "Controlador SAS", "SAS 控制器"],
  "0x0108": ["NVMe controller", "Controlador NVMe", "NVMe 控制器"],
  "0x0200": ["Ethernet controller", "Controlador Ethernet", "以太网控制器"],
  "0x0280": ["Network controller", "Controlador de red", "网络控制器"],
  "0x0300": ["VGA controller", "Controlador VGA", "VGA 控制器"],
  "0x0302": ["3D controller", "Controlador 3D", "3D 控制器"],
  "0x0380": ["Display controller", "Controlador de pantalla", "显示控制器"],
  "0x0400": ["Video controller", "Controlador de vídeo", "视频控制器"],
  "0x0403": ["Audio device", "Dispositivo de audio", "音频设备"],
  "0x0500": ["RAM controller", "Controlador de RAM", "RAM 控制器"],
  "0x0580": ["Memory controller", "Controlador de memoria", "内存控制器"],
  "0x0600": ["Host bridge", "Puente del host", "主桥"],
  "0x0601": ["ISA bridge", "Puente ISA", "ISA 桥"],
  "0x0604": ["PCI bridge", "Puente PCI", "PCI 桥"],
  "0x0700": ["Serial controller", "Controlador serie", "串口控制器"],
  "0x0780": ["Communication controller", "Controlador de comunicación", "通信控制器"],
  "0x0806": ["IOMMU", "IOMMU", "IOMMU"],
  "0x0880": ["System peripheral", "Periférico de sistema", "系统外设"],
  "0x0c03": ["USB controller", "Controlador USB", "USB 控制器"],
  "0x0c05": ["SMBus", "SMBus", "SMBus"],
  "0x1080": ["Encryption controller", "Controlador de cifrado", "加密控制器"],
  "0x1180": ["Signal processing", "Procesamiento de señal", "信号处理"],
  other: ["Device of class {code}", "Dispositivo de clase {code}", "类别 {code} 的设备"],
  unseen: ["Device", "Dispositivo", "设备"],
} as const;
const SAY = words(CLASSES);

/** What kind of function a class code (24 bits) names. */
export const className = (classCode: number | undefined, language: Language): string => {
  if (classCode === undefined) return SAY(language)("unseen");
  const code = `0x${(classCode >>> 8).toString(16).padStart(4, "0")}`;
  const found = (CLASSES as Readonly<Record<string, readonly string[]>>)[code];
  return found?.[LANGUAGES.indexOf(language)] ?? SAY(language)("other", { code });
};
