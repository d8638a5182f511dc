import { words } from "../../text/words.ts";

export const vgaWords = words({
  title: ["Who has the VGA window", "Quién tiene la ventana VGA", "谁拥有 VGA 窗口"],
  about: ["Every VGA card answers to 0xa0000–0xbffff and to ports 0x3b0–0x3df. The kernel's arbiter hands them to one card at a time and opens the bridges above it.", "Toda tarjeta VGA responde a 0xa0000–0xbffff y a los puertos 0x3b0–0x3df. El árbitro del kernel los entrega a una tarjeta cada vez y abre los puentes que hay encima.", "每张 VGA 卡都响应 0xa0000–0xbffff 和端口 0x3b0–0x3df。内核仲裁器每次只把它们交给一张卡，并打开其上方的桥。"],
  none: ["No VGA arbiter is at work in this run. Three scenarios have one:", "En esta ejecución no interviene ningún árbitro VGA. Tres escenarios tienen uno:", "此运行中没有 VGA 仲裁器。以下三个场景有："],
  machine: ["Machine", "Máquina", "机器"],
  now: ["After this event", "Tras este evento", "此事件之后"],
  card: ["Card", "Tarjeta", "显卡"],
  bridge: ["Bridge", "Puente", "桥"],
  decodes: ["Decodes", "Decodifica", "解码"],
  owns: ["Owns", "Posee", "拥有"],
  locks: ["Locked", "Bloqueado", "锁定"],
  waits: ["Waits", "Espera", "等待"],
  yes: ["yes", "sí", "是"],
  no: ["no", "no", "否"],
  open: ["VGA Enable set", "VGA Enable activo", "VGA Enable 已置位"],
  closed: ["VGA Enable clear", "VGA Enable inactivo", "VGA Enable 已清除"],
  lanes: ["Owners over time; {count} changes up to event {at}", "Propietarios a lo largo del tiempo; {count} cambios hasta el evento {at}", "所有者随时间的变化；到第 {at} 个事件共 {count} 次"],
  legend: ["Filled: owns the ranges. Thick edge: somebody holds a lock. Dotted: waits for another's lock. Thin line: decodes nothing of them.", "Relleno: posee los rangos. Borde grueso: alguien tiene un bloqueo. Punteado: espera el bloqueo de otro. Línea fina: no decodifica ninguno.", "填充：拥有这些范围。粗边：有人持有锁。虚线：等待他人的锁。细线：不解码任何范围。"],
  history: ["Changes", "Cambios", "变化"],
  event: ["Event", "Evento", "事件"],
});
