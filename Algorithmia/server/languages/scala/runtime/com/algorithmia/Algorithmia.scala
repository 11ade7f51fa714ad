package com.algorithmia

import com.algorithmia.handler.{AbstractAlgorithm, Handler}

/** What programs that serve themselves begin with: `Algorithmia.handler(new Algorithm).serve()`. */
object Algorithmia {
  def handler[I, O](algorithm: AbstractAlgorithm[I, O]): Handler = new Handler(algorithm)
}
