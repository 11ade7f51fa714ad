package com.algorithmia.runner

import com.google.gson.JsonElement

import scala.collection.JavaConverters._

/** JSON as the values that a parameter of type `Any` gets. */
private[runner] object Natural {
  private val Whole = "-?[0-9]+".r

  def read(data: JsonElement): Any =
    if (data.isJsonNull) null
    else if (data.isJsonObject) data.getAsJsonObject.entrySet.asScala.map(e => e.getKey -> read(e.getValue)).toMap
    else if (data.isJsonArray) data.getAsJsonArray.iterator.asScala.map(read).toList
    else {
      val value = data.getAsJsonPrimitive
      if (value.isBoolean) value.getAsBoolean
      else if (value.isString) value.getAsString
      else number(value.getAsString)
    }

  private def number(text: String): Any = text match {
    case Whole() =>
      val value = BigInt(text)
      if (value.isValidInt) value.toInt else if (value.isValidLong) value.toLong else value
    case _ => text.toDouble
  }
}
