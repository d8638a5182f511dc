export { explainLog, LOG_FORMATS, type LogEvent } from "./explain-log.ts";
export type { LogFormat, LogLevel, LogMeaning } from "./log-format.ts";
