package com.algorithmia.handler

import com.algorithmia.runner.{Runner, ScalaConversions}

/** Answers requests from standard input until it ends. */
class Handler(algorithm: AnyRef) {
  def serve(): Unit = Runner.serve(algorithm, new ScalaConversions)
}
