import type { RunEvent } from "@iommu-lab/hypervisor/scenarios";
import { storyIn } from "../text/stories.ts";
import { tell } from "../text/told.tsx";
import { words, type Language } from "../text/words.ts";

const TEXT = words({
  machine: ["The machine “{name}” starts.", "Arranca la máquina «{name}».", "机器“{name}”启动。"],
  check: ["Statement {id}: expected {expected}, seen {actual}.", "Afirmación {id}: se esperaba {expected}, se vio {actual}.", "断言 {id}：预期 {expected}，实际 {actual}。"],
  hop: ["{at}: {what}, {decision} ({rule}).", "{at}: {what}, {decision} ({rule}).", "{at}：{what}，{decision}（{rule}）。"],
  read: ["{from} reads {length} bytes at IOVA {iova}: {end}.", "{from} lee {length} bytes en la IOVA {iova}: {end}.", "{from} 读取 IOVA {iova} 处 {length} 字节：{end}。"],
  write: ["{from} writes {length} bytes at IOVA {iova}: {end}.", "{from} escribe {length} bytes en la IOVA {iova}: {end}.", "{from} 向 IOVA {iova} 写入 {length} 字节：{end}。"],
  reached: ["reached {hpa}", "llegó a {hpa}", "到达 {hpa}"],
  refused: ["refused ({completion})", "rechazado ({completion})", "被拒绝（{completion}）"],
  delivered: ["{from} sends the message {data} to {address}: delivered as vector {vector} to APIC {destination}.", "{from} envía el mensaje {data} a {address}: entregado como vector {vector} al APIC {destination}.", "{from} 向 {address} 发送消息 {data}：作为向量 {vector} 交付给 APIC {destination}。"],
  posted: ["{from} sends the message {data} to {address}: posted as vector {vector} into {structure}.", "{from} envía el mensaje {data} a {address}: publicado como vector {vector} en {structure}.", "{from} 向 {address} 发送消息 {data}：作为向量 {vector} 投递到 {structure}。"],
  blocked: ["{from} sends the message {data} to {address}: blocked.", "{from} envía el mensaje {data} a {address}: bloqueado.", "{from} 向 {address} 发送消息 {data}：被阻止。"],
  fault: ["The IOMMU records a fault of {requester} at {address}: {code}, {text}.", "El IOMMU registra un fallo de {requester} en {address}: {code}, {text}.", "IOMMU 记录 {requester} 在 {address} 的故障：{code}，{text}。"],
  map: ["Domain {domain}: IOVA {iova} now leads to {hpa} ({size} bytes, {rights}).", "Dominio {domain}: la IOVA {iova} lleva ahora a {hpa} ({size} bytes, {rights}).", "域 {domain}：IOVA {iova} 现映射到 {hpa}（{size} 字节，{rights}）。"],
  unmap: ["Domain {domain}: IOVA {iova} leads nowhere any more ({unmapped} bytes).", "Dominio {domain}: la IOVA {iova} ya no lleva a ninguna parte ({unmapped} bytes).", "域 {domain}：IOVA {iova} 不再映射（{unmapped} 字节）。"],
  exit: ["Guest “{vm}” leaves to the hypervisor: {reason} (handled in {where}).", "El invitado «{vm}» sale al hipervisor: {reason} (atendido en {where}).", "客户机“{vm}”退出到虚拟机监控器：{reason}（由 {where} 处理）。"],
  vga: ["VGA: {owners} owns the ranges, {holders} holds a lock.", "VGA: {owners} posee los rangos, {holders} tiene un bloqueo.", "VGA：{owners} 拥有这些范围，{holders} 持有锁。"],
  nobody: ["nobody", "nadie", "无人"],
  config: ["{at}: {value} is written to configuration space at {offset} ({size} bytes).", "{at}: se escribe {value} en el espacio de configuración en {offset} ({size} bytes).", "{at}：向配置空间 {offset} 写入 {value}（{size} 字节）。"],
});

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** An event in a sentence. */
export const eventSentence = (event: RunEvent, language: Language): string => {
  const say = TEXT(language);
  switch (event.kind) {
    case "machine": return say("machine", { name: event.name });
    case "say": return storyIn(event.text, language) ?? event.text;
    case "check": return say("check", { id: event.id, expected: shown(event.expected), actual: shown(event.actual) });
    case "hop": return say("hop", { at: event.at, what: tell(event.what, language), decision: tell(event.decision, language), rule: tell(event.rule, language) });
    case "dma": return say(event.write ? "write" : "read", { from: event.from, length: event.length, iova: event.iova, end: event.completion === "successful-completion" ? say("reached", { hpa: event.hpa ?? "?" }) : say("refused", { completion: event.completion }) });
    case "interrupt": return say(event.outcome, { from: event.from, data: event.data, address: event.address, vector: event.posted?.vector ?? event.interrupt?.vector ?? "?", destination: event.interrupt?.destination ?? "?", structure: event.posted?.structure ?? "?" });
    case "fault": return say("fault", { requester: event.requester, address: event.address, code: event.code, text: tell(event.text, language) });
    case "map": return say("map", { domain: event.domain, iova: event.iova, hpa: event.hpa, size: event.size, rights: `${event.read ? "R" : ""}${event.write ? "W" : ""}` });
    case "unmap": return say("unmap", { domain: event.domain, iova: event.iova, unmapped: event.unmapped });
    case "exit": return say("exit", { vm: event.vm, reason: event.reason, where: event.handledIn });
    case "vga": {
      const names = (held: "owns" | "locks"): string => event.devices.filter((device) => device[held] !== "none").map(({ at }) => at).join(", ") || say("nobody");
      return say("vga", { owners: names("owns"), holders: names("locks") });
    }
    case "config-write": return say("config", { at: event.at, value: event.value, offset: `0x${event.offset.toString(16)}`, size: event.size });
  }
};

/** Fields of events that are sentences. */
const SENTENCES: readonly string[] = ["text", "what", "decision", "rule"];

/** A field of an event, as it is shown: sentences in the language, all else as the run's file has it. */
export const eventField = (event: RunEvent, key: string, value: unknown, language: Language): string => {
  if (typeof value !== "string") return JSON.stringify(value);
  if (!SENTENCES.includes(key)) return value;
  return (event.kind === "say" ? storyIn(value, language) : undefined) ?? tell(value, language);
};

/** Functions and addresses that an event is about: what the selection lights up. */
export const eventSubjects = (event: RunEvent): { readonly devices: readonly string[]; readonly addresses: readonly string[] } => {
  switch (event.kind) {
    case "dma": return { devices: [event.from], addresses: [event.iova, ...(event.hpa === null ? [] : [event.hpa])] };
    case "interrupt": return { devices: [event.from], addresses: [event.address, ...(event.posted ? [event.posted.structure] : [])] };
    case "fault": return { devices: [event.requester], addresses: [event.address] };
    case "map": return { devices: [], addresses: [event.iova, event.hpa] };
    case "unmap": return { devices: [], addresses: [event.iova] };
    case "hop":
    case "config-write": return { devices: event.at === "root" ? [] : [event.at], addresses: [] };
    case "vga": return { devices: event.devices.filter(({ owns }) => owns !== "none").map(({ at }) => at), addresses: [] };
    default: return { devices: [], addresses: [] };
  }
};
