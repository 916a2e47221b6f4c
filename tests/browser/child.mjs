// A child process: started, watched, and gone when the test is.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

const KEPT_LINES = 60;

export class Child {
  #process;
  #exited;
  /** The last lines of its output. */
  lines = [];

  /** `onLine` is called with each line of its output. */
  constructor(command, args, onLine = () => {}) {
    // What configures the tests must not configure what they test.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDINGS_')));
    this.#process = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#exited = once(this.#process, 'exit').catch(() => {});
    this.#process.on('error', (error) => this.#take(`${command}: ${error.message}`, onLine));
    for (const output of [this.#process.stdout, this.#process.stderr]) {
      let rest = '';
      output.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        lines.forEach((line) => this.#take(line, onLine));
      });
    }
  }

  /** Whether it runs. */
  get alive() {
    return this.#process.pid !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Sends `signal` and waits until it is gone. */
  async end(signal) {
    if (this.alive) {
      this.#process.kill(signal);
      await this.#exited;
    }
  }

  #take(line, onLine) {
    this.lines.push(line);
    this.lines.splice(0, this.lines.length - KEPT_LINES);
    onLine(line);
  }
}
