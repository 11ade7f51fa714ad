package com.algorithmia.runner

import java.lang.reflect.{Method, Type}

import com.google.gson.{JsonElement, JsonObject}

import scala.util.{Failure => Failed, Try}

/** Scala's types: chosen by their classes, read by what the source says of them, written by what they are. */
class ScalaConversions extends JavaConversions {
  private lazy val decoder = new Decoder

  override def fit(kind: Class[_], data: JsonElement): Int = {
    def is(wanted: Class[_]) = wanted.isAssignableFrom(kind)
    if (is(classOf[Option[_]])) if (data.isJsonNull) 4 else 3
    else if (data.isJsonNull || kind == classOf[Object]) super.fit(kind, data)
    else if (is(classOf[scala.collection.Map[_, _]])) if (data.isJsonObject) 7 else Conversions.UNFIT
    else if (is(classOf[scala.collection.Iterable[_]])) if (data.isJsonArray) 8 else Conversions.UNFIT
    else if (kind.getName.startsWith("scala.Tuple")) if (data.isJsonArray) 8 else Conversions.UNFIT
    else if (kind == classOf[BigInt]) super.fit(classOf[java.math.BigInteger], data)
    else if (kind == classOf[BigDecimal]) super.fit(classOf[java.math.BigDecimal], data)
    else super.fit(kind, data)
  }

  override def read(data: JsonElement, method: Method, parameter: Int): AnyRef = {
    val kind = method.getParameterTypes()(parameter)
    // What needs no reflection on Scala's types, which takes most of a second to begin.
    val isPlain = kind.isPrimitive || kind == classOf[String] || kind.getName.startsWith("java.lang.") ||
      classOf[JsonElement].isAssignableFrom(kind)
    if (kind == classOf[Object]) Natural.read(data).asInstanceOf[AnyRef]
    else if (isPlain) Values.read(data, kind)
    else decoder.read(data, method, parameter).asInstanceOf[AnyRef]
  }

  override def answer(result: AnyRef, method: Method): JsonObject = result match {
    case attempt: Try[_] => answer(attempt.get.asInstanceOf[AnyRef], method)
    case Some(value) => answer(value.asInstanceOf[AnyRef], method)
    case text: String => super.answer(text, method)
    case bytes: Array[Byte] => super.answer(bytes, method)
    case file: java.io.File => super.answer(file, method)
    case character: Character => super.answer(character, method)
    case other => Values.answer(Encoder.write(other), classOf[JsonElement]: Type, false)
  }

  override def check(result: AnyRef): Unit = result match {
    case Failed(failure) => throw failure
    case _ =>
  }
}
