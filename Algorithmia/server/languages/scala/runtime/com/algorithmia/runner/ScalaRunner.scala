package com.algorithmia.runner

/** The program of workers: `ScalaRunner CLASS` serves the algorithm that this class or object is. */
object ScalaRunner {
  def main(arguments: Array[String]): Unit = Runner.run(arguments(0), new ScalaConversions)
}
