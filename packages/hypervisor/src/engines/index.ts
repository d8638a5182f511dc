export type { Engine, EngineEnd, EngineOptions, EngineSession, GuestBus, GuestRam, RegisterWindow } from "./engine.ts";
export { EventClock } from "./scripted/event-clock.ts";
export { ScriptedEngine, ScriptedSession, type ArrivedInterrupt, type ScriptedProcessor, type ScriptedProgram } from "./scripted/scripted-engine.ts";
