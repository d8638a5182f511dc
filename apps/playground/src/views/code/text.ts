import { words } from "../../text/words.ts";

export const codeWords = words({
  title: ["Experiments", "Experimentos", "实验"],
  about: ["TypeScript against a fresh machine, in a worker without network, for at most {seconds} seconds. A scenario that you play appears in every other view.", "TypeScript contra una máquina recién creada, en un worker sin red, durante {seconds} segundos como máximo. El escenario que ejecute aparece en las demás vistas.", "在没有网络的 worker 中、对一台全新的机器运行 TypeScript，最多 {seconds} 秒。您运行的场景会出现在所有其他视图中。"],
  program: ["Begin with", "Empezar con", "从此开始"],
  own: ["your own text", "su propio texto", "自己的文本"],
  editor: ["Program", "Programa", "程序"],
  editorHint: ["Tab leaves the editor; Ctrl+Space completes; Ctrl+Enter runs.", "Tab sale del editor; Ctrl+Espacio completa; Ctrl+Intro ejecuta.", "Tab 离开编辑器；Ctrl+空格 补全；Ctrl+回车 运行。"],
  run: ["Run", "Ejecutar", "运行"],
  stop: ["Stop", "Detener", "停止"],
  output: ["Output", "Salida", "输出"],
  mistakes: ["Mistakes that the types tell", "Errores que señalan los tipos", "类型检查发现的错误"],
  line: ["Line {line}: {text}", "Línea {line}: {text}", "第 {line} 行：{text}"],
  running: ["Running …", "Ejecutando …", "正在运行…"],
  done: ["Done.", "Terminado.", "完成。"],
  failed: ["It ended with an error: {error}", "Terminó con un error: {error}", "以错误结束：{error}"],
  stopped: ["Stopped.", "Detenido.", "已停止。"],
  time: ["It took longer than {seconds} seconds and was ended.", "Tardó más de {seconds} segundos y se interrumpió.", "超过 {seconds} 秒，已终止。"],
  see: ["See it as a story", "Verlo como historia", "以故事形式查看"],
  holds: ["{ok} of {count} statements hold; result {hash}", "Se cumplen {ok} de {count} afirmaciones; resultado {hash}", "{count} 条断言中有 {ok} 条成立；结果 {hash}"],
});
